"""Images without labels, one file a technique."""
