"""syncd keeps the data objects of a user the same on all of the user's machines on a local network."""

__version__ = "0.1.0"
