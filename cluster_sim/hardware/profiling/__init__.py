"""Import and measurement of operator profiles."""
