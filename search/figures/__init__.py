"""Pictures of a search and of a model."""

from contextlib import suppress

# MLflow's log imports IPython in a thread of its own, and matplotlib trips over one that is half imported.
with suppress(ImportError):
    import IPython  # noqa: F401
