"""The local page of `skinlesion serve`, and its JSON interface for other software."""
