"""Traits that requests carry besides lengths: tenant, shared prefixes, adapters, reasoning, media, hints."""
