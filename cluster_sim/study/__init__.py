"""How runs combine: building, running, sweeps, capacity search."""
