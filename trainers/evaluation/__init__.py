"""What is compared, and predicting."""
