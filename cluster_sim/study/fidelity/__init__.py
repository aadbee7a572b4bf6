"""Fidelity: measured runs of real engines, replayed by the simulator and held against the measurements."""
