"""Reading of recorded traces: the axis of formats, and what the readers share."""
