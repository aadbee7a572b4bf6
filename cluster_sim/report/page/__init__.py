"""Parts of report pages: markup, charts, style and script; they know nothing of runs."""
