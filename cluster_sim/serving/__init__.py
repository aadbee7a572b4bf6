"""What a replica does: requests, batches, KV cache, schedulers, pipeline stages."""
