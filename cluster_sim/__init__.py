"""Predicts how a fleet of LLM serving replicas behaves, without a GPU."""

__version__ = "0.1.0"
