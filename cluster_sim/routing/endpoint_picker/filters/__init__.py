"""Filters of the endpoint picker, one module each: which endpoints a profile leaves in."""
