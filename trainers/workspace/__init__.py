"""What a search's driver and its workers exchange."""
