"""Import of deployments: what people run, as the pools of a study."""
