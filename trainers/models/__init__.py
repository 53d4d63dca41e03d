"""A name → a network; its weights, its card, its layers."""
