"""Cost of a step: devices, links, models, memory plan, predictors."""
