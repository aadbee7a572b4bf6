"""What a process notes while it runs: plain data, no output."""
