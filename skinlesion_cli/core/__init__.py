"""The method itself: no terminal, no printing."""
