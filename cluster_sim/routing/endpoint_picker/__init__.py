"""Endpoint picker of llm-d: scheduling profiles of filters, scorers and pickers, from its own configuration files."""
