"""What unlabeled images bring, and what they cost."""
