"""Queue orders, one module each, chosen by ``engine.policy``."""
