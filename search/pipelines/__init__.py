"""What commands call: one whole job each, from settings to its result."""
