"""Measurements of augsearch and its peers; each module says what it answers and how."""

import os

# Before anything imports AlbumentationsX, which else reports each pipeline to its makers, from a thread.
os.environ["ALBUMENTATIONS_NO_TELEMETRY"] = "1"
os.environ["ALBUMENTATIONS_OFFLINE"] = "1"
