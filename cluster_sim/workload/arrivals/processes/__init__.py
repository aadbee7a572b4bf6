"""Arrival processes, one module each."""
