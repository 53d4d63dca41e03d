"""The search, replayed on recorded trainings."""
