"""Conversations: turn-taking, planned sessions, and their source."""
