"""Grad-CAM maps as pictures: beside the photograph, on contact sheets, and small inside a page."""

ALPHA = 0.0
"""Default opacity of the colours between the lines of a map."""
