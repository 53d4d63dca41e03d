"""The options of commands, and how commands look in a terminal; quick to import."""
