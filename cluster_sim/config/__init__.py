"""Study files: schema, loading and overrides."""
