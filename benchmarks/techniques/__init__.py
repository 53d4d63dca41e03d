"""What transfer and distillation bring."""
