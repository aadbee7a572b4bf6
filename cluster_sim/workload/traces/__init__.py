"""Replay of recorded traces: rows of a window, bootstrap, clipping, and traces of the product's own."""
