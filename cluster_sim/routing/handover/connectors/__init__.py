"""Connectors: ways in which a KV cache moves between two replicas, one module each."""
