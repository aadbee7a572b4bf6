"""Random streams, distributions and quantiles."""
