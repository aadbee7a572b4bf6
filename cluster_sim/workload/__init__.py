"""Sources of requests: traces, arrivals, lengths, sessions."""
