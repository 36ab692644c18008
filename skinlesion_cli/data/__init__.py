"""Images and labels: reading, splits, augmentation, caching, class balance."""
