"""Any images → one mapped, divided data set."""
