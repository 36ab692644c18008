"""The local page of `skinlesion serve`, and its JSON API for other software."""
