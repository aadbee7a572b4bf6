"""Paged memory for keys and values: which sequence holds which blocks, and which of them another may reuse."""
