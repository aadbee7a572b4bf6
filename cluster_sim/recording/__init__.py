"""Records that a process keeps while it runs: plain data, no output."""
