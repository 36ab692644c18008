"""Grad-CAM maps as figures: beside the photograph, on contact sheets, and as thumbnails inside a page."""

ALPHA = 0.0
"""Default opacity of the colours between the lines of a map."""
