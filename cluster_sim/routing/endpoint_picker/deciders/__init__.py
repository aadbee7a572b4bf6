"""Deciders of the endpoint picker, one module each: whether a prompt is computed on an instance of its own."""
