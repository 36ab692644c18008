"""Backbones, checkpoints, weight files and devices."""
