"""Prompt and output lengths: the axis, and the sampler of pairs."""
