"""Engines, one module each, chosen by ``engine.kind``: a scheduler with its options."""
