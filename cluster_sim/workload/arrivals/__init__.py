"""Arrival processes: their axis, and what renewal processes and changing rates share."""
