"""The page about a study."""
