"""What the notes mean: definitions, summaries, digest, exposition."""
