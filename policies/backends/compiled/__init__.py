"""A whole policy on uint8 arrays in one compiled call, with numba; the same pixels as ``backends/opencv``."""
