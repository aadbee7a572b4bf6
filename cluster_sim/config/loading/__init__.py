"""Loading of study files: documents, overrides, error context, template."""
