"""Recovery at the router: failures that it sees, retries, circuit breakers, health checks and migration."""
