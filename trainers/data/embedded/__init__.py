"""The embedded part of Fashion-MNIST."""
