"""Open Images as data sets."""
