"""Raw ``config.json`` files of Hugging Face: understood as the figures of a model, or refused by the key."""
