"""Pickers of the endpoint picker, one module each: the choice among endpoints with scores."""
