"""Profile handlers of the endpoint picker, one module each: the profiles that run, and in which order."""
