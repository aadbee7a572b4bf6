"""Scalers, one file each with its options and its source."""
