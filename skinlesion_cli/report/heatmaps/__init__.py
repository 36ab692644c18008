"""Grad-CAM maps as pictures: beside the photograph, on contact sheets, and small inside a page."""
