"""Deciders, one module each."""
