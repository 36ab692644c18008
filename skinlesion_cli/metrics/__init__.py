"""Scores of predictions and their confidence intervals; numpy only."""
