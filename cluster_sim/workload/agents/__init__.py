"""Agentic sessions: steps of a graph of calls, and their source."""
