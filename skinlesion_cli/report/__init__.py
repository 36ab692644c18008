"""After training: what a person looks at."""
