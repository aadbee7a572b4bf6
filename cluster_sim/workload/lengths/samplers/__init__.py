"""Samplers of lengths, one module each."""
