"""Orderings of requests within a flow, one module each."""
