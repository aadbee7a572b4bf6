"""Reading of recorded traces: the axis of formats, and the code that readers share."""
