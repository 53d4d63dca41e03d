"""The study, which is the only truth."""
