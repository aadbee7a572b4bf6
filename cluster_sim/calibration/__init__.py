"""Fitting of step times to measurements of real engines."""
