"""One file a source of images."""
