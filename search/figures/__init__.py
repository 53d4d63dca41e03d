"""Pictures of a search and of a model."""
