"""How often the verdict is right, simulated."""
