"""Shedders, one module each."""
