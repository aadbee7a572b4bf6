"""The schema of a study file."""
