"""The driver: race and confirmation."""
