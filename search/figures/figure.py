"""Matplotlib's figure, for all who draw one.

MLflow's log imports IPython in a thread of its own, and matplotlib, which looks whether that is there, trips
over one that is half imported. So it is waited for here.
"""

from contextlib import suppress

with suppress(ImportError):
    import IPython  # noqa: F401
from matplotlib.figure import Figure

__all__ = ["Figure"]
