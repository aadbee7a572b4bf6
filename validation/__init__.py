"""Scores against external data sets."""
