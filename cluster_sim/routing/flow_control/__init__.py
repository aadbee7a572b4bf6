"""Flow control: queues at the router while replicas are saturated, limits of rate, and shedding."""
