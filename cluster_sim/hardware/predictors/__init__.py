"""Predictors of step times."""
