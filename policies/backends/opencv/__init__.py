"""Steps on uint8 arrays, in OpenCV."""
