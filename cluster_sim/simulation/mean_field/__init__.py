"""Mean-field estimate of a run: means per replica and tick instead of requests and steps (``run.detail: estimate``)."""
