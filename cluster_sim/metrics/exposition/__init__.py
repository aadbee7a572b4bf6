"""Prometheus exposition: metric families of a snapshot, one module a set of names, and the ways to serve them."""
