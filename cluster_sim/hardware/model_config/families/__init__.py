"""Families of architectures: one module each, with the rules of its configuration files."""
