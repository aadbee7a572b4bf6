"""Saturation detectors, one module each."""
