"""Autoscaling: scalers, cold starts, bounds, and changes of the fleet during a run."""
