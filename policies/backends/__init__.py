"""Where a policy's steps run: on arrays, or on tensors."""
