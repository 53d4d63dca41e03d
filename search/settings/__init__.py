"""What a run is told: sections, one object of them all, and the file it may stand in."""
