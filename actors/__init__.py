"""The Ray side: actors, transport, placement, supervision and the launcher."""
