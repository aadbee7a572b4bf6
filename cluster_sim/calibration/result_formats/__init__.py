"""Formats of benchmark results, one module each."""
