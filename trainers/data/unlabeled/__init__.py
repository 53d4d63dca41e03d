"""Images without labels: found, sampled, kept apart from held-out ones."""
