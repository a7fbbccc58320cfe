"""The version, where the package, its command and its metadata read it."""

__version__ = "0.1.0"
