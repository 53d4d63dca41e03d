"""Readers of strangers' files, given damaged ones by the hundred thousand."""
