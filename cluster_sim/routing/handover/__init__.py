"""Hand-over of requests from the replica that computes the prompt to the one that decodes."""
