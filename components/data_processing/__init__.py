"""Components that make data sets."""
