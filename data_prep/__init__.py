"""Data preparation: one file per data set."""
