"""Arrival processes: their axis, renewal processes and changing rates."""
