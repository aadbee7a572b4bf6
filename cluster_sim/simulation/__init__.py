"""One run: plan, composition, executors, monitoring."""
