"""One training run, from settings to scores."""
