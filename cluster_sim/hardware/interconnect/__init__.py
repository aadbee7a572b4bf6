"""Links of a fleet: inside nodes, between nodes, and between sites."""
