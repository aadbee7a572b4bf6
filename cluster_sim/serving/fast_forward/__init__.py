"""Macro-steps: decodes that are counted in pools and planned in runs, which change no result."""
