"""Simulated time: instants, messages, logical processes, bounds and the event loop."""
