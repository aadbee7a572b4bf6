"""Routing policies, one module each, chosen by ``router.policy``."""
