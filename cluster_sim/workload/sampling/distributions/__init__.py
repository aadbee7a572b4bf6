"""Distributions, one module each."""
