"""Planning: the cheapest fleet for a load within limits."""
