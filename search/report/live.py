"""The report while its study is being made: read when somebody asks, and drawn anew if it has changed."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from dataclasses import dataclass
from importlib import resources

import optuna

from augsearch.policies import UserError
from augsearch.policies.errors import first_line
from augsearch.search.report.facts import PICTURES, folder_of, gather
from augsearch.search.report.page import environment_of_pages, in_utf8, live_script, render, style
from augsearch.search.settings.addresses import redacted, sqlite_file
from augsearch.search.studies.study import check_own, load_study, open_storage

EVERY = 2.0
"""Seconds between two looks at the study, at least; a browser asks as often."""
LONG = 10.0
"""Seconds after which a look that has not ended is told of: a database may wait for a writer for a minute."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a browser is given."""

    page: bytes
    tag: str
    """Another one for every other page: an ``ETag``."""
    note: str
    """Why the page may be behind the study, in a sentence; empty: it isn't."""


class LivePage:
    """The report about the study ``name`` in the database ``storage``, as of the last look.

    ``again`` is the command that serves it, which the page tells once its server has ended.
    """

    def __init__(self, name: str, storage: str, again: str) -> None:
        self._name, self._storage, self._again = name, storage, again
        self._study: optuna.Study | None = None
        self._mark = ""
        self._page = self._waiting("This page has not looked yet.")
        self._note = ""
        self._began: float | None = None
        self.last_asked = -math.inf
        """When the page was last asked for, by the monotonic clock."""
        self._asked, self._looked, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._asked.set()

    @property
    def shown(self) -> Shown:
        """The page as of the last look; asks for another look."""
        self.last_asked = time.monotonic()
        self._asked.set()
        began, note = self._began, self._note
        if began is not None and time.monotonic() - began > LONG:
            note = "The database is busy: the study could not be read for a while."
        page = self._page
        return Shown(page, hashlib.sha256(page).hexdigest()[:16], note)

    def follow(self) -> None:
        """Look whenever somebody has asked, until the end; for a thread of its own."""
        while not self._ended.is_set():
            if self._asked.wait(EVERY):
                self._asked.clear()
                self.look()
                self._ended.wait(EVERY)

    def wait_for_look(self) -> None:
        """Until the study has been looked at once; no longer than ``LONG``, for its database may be busy."""
        self._looked.wait(LONG)

    def is_followed(self) -> bool:
        """Whether a browser asks for it."""
        return time.monotonic() - self.last_asked < LONG

    def end(self) -> None:
        """Let ``follow`` return."""
        self._ended.set()

    def look(self) -> None:
        """Read the study, and draw the page anew if it has changed; what can't be read is told on it."""
        self._began = time.monotonic()
        try:
            study = self._opened()
            mark = mark_of(study)
            if mark != self._mark:
                self._page = in_utf8(render(gather(study), self._again)).encode()
                self._mark = mark
            self._note = ""
        except UserError as error:
            self._unreadable(str(error))
        except Exception as error:  # of whichever database it is: the next look may read it
            self._unreadable(f"The study can't be read now ({redacted(first_line(error))}).")
        finally:
            self._began = None
            self._looked.set()

    def _opened(self) -> optuna.Study:
        """The study, connected to once."""
        if self._study is None:
            file = sqlite_file(self._storage)
            if file is not None and not file.exists():  # opening it would make it
                raise UserError(f"There is no database {redacted(self._storage)} yet.")
            study = load_study(open_storage(self._storage), self._name)
            check_own(study)
            self._study = study
        return self._study

    def _unreadable(self, why: str) -> None:
        """Keep what was shown, with a word; where nothing was, say what is waited for."""
        if self._mark:
            self._note = why
        else:
            self._page = self._waiting(why)

    def _waiting(self, why: str) -> bytes:
        """A page that says that there is no study yet."""
        text = (resources.files("augsearch.search.report") / "waiting.html.jinja").read_text(encoding="utf-8")
        template = environment_of_pages().from_string(text)
        told = {"study": self._name, "why": why, "again": self._again}
        page = template.render(told, style=style(), script=live_script())
        return in_utf8(page).encode()


def mark_of(study: optuna.Study) -> str:
    """A hash of all that a report shows of ``study``: attributes, trials with theirs, pictures beside it."""
    trials = [(trial.number, trial.state, trial.user_attrs) for trial in study.get_trials(deepcopy=False)]
    files = [folder_of(study) / f"{name}.png" for name in PICTURES]
    pictures = [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
    return hashlib.sha256(repr((study.user_attrs, trials, pictures)).encode()).hexdigest()
