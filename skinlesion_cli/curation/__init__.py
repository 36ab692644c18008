"""What comes before training: auditing, splitting and building data sets."""
