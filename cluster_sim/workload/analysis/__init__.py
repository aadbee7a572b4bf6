"""Summaries of workloads, drawn as text, and generators fitted to them."""
