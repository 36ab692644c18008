"""Shared by all packages: errors, events, limits, text, files, settings."""
