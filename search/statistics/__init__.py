"""What may be said of scores; pure functions."""
