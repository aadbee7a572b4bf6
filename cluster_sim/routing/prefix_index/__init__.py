"""Indexes of the prefixes that replicas hold, as a router keeps them."""
