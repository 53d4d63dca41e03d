"""What can be trained: a fold, a teacher, a final model, self-training."""
