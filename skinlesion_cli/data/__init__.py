"""Before training: where pictures come from."""
