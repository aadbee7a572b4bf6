"""Where requests come from: traces, arrivals, lengths, sessions."""
