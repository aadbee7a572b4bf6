"""Kinds of workloads, one module each."""
