"""What every package uses: errors, events, limits, texts, files, settings."""
