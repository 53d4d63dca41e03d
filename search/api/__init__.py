"""A whole search in Python: run it, load it, look at what it found."""
