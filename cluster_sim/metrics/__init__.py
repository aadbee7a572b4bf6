"""Meaning of the records: definitions, summaries, digest, exposition."""
