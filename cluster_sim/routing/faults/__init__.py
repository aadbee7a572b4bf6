"""Simulated faults: what befalls replicas, links and the router, at given times or drawn before time starts."""
