"""Where the search's work runs: in this process, or in processes of this machine."""

from augsearch.search.engines.engine import Engine, WorkerLostError
from augsearch.search.engines.inline import InlineEngine
from augsearch.search.engines.local import LocalEngine

__all__ = ["Engine", "InlineEngine", "LocalEngine", "WorkerLostError"]
