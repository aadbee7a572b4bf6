"""Studies of several runs: sweeps, capacity search, validation."""
