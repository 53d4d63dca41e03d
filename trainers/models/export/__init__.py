"""Formats of files that hold a trained model: one file each, found by what it declares."""
