"""Deployment formats, one module each."""
