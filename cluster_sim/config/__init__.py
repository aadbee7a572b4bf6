"""What a study file may say: schema, loading and overrides."""
