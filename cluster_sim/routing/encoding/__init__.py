"""Encoders of images and other media, apart from the replicas."""
