"""Where folds run, one file an engine."""
