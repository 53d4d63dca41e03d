"""The training loop beside the plain recipe, and where its time goes."""
