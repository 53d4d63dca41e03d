"""Is nothing lost, and nothing different, whatever dies? See ``__main__``."""
