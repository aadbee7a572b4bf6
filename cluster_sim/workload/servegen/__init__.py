"""ServeGen client folders: files, and arrivals within a window."""
