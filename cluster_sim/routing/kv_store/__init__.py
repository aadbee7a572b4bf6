"""A KV store that replicas share."""
