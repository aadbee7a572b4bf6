"""Replica: requests, batches, KV cache, schedulers, pipeline stages."""
