"""Scorers of the endpoint picker, one module each: a number in [0, 1] for every endpoint."""
