"""Sources that react to how requests fare, for any kind of workload."""
