"""Input files: compression, CSV and Parquet columns, places in messages."""
