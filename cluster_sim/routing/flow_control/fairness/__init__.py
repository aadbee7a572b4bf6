"""Fairness between the flows of one priority, one module each."""
