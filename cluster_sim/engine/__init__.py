"""How simulated time advances: instants, messages, processes, bounds, the inline executor."""
