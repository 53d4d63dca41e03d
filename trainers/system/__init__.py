"""The machine: threads, devices, hashes."""
