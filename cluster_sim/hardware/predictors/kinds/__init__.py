"""Predictors, one file for each kind that a study can name."""
