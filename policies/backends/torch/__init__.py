"""Steps on batches of tensors, in torch."""
