"""What a step costs: devices, links, models, memory plan, predictors."""
