"""Presentation of results: tables, progress, HTML."""
