"""A small selection of Fashion-MNIST."""
