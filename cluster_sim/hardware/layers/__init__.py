"""Layers of a model: weights, operations, cache and state of each kind of mixer and feed-forward network."""
