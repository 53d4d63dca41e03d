"""MLflow, a projection of the study."""
