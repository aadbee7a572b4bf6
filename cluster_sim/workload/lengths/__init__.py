"""Prompt and output lengths: the axis, and what samplers of pairs share."""
