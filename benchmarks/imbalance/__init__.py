"""Classes of unequal size: what each way to balance them comes to."""
