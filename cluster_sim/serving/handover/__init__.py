"""Hand-over at a replica: prompts whose blocks are kept for another replica, and those whose blocks come from one."""
