"""Readers of the trace formats users have, one module each; ``registry`` lists them."""
