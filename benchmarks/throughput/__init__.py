"""Images a second and memory, beside the libraries that augment images."""
