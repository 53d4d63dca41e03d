"""``augsearch.search.run`` and ``load``: what the command line does, in a script or a notebook."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augsearch.policies import UserError
from augsearch.search.api.progress import display_of
from augsearch.search.api.result import Result
from augsearch.search.console import Display
from augsearch.search.options.faults import in_one_line
from augsearch.search.settings.files import load_settings
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.settings.settings import DEFAULTS, FLAT
from augsearch.search.studies.study import load_study, open_storage, open_to_read
from augsearch.trainers.workspace.own_training import TrainFold, is_importable, own_training


def run(
    data: str | os.PathLike[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    train_fold: TrainFold | None = None,
    progress: bool | Display = True,
    **settings: Any,
) -> Result:
    """Search a policy for ``data``, confirm it, export it, train the final model: as ``augsearch run`` does.

    Whatever was done already is not done again: stopped at any moment, the same call goes on.

    Args:
        data: a folder of class folders, a table, an ``.npz`` file …; None: the embedded images.
        config: a TOML file with settings; those given here overrule it.
        train_fold: a training of your own, ``f(train, policy, seed)``: ``train.images`` uint8 (N, H, W, C),
            ``train.labels`` (N,), ``train.classes``. It gives back what predicts: a function of images, or an
            object with ``predict_proba``, to probabilities (N, K). The verdict is then about your model.
        progress: whether to say what happens; or a display of your own.
        settings: any option of ``augsearch run``, with underscores: ``budget="10m"``,
            ``final_model="lite0"``, ``final=False``. None is as though it were not given.

    Raises:
        UserError: bad input or a machine that fails, in one line; nothing is lost.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    _check_names(settings)
    given = settings if data is None else {"data": os.fspath(data), **settings}
    if train_fold is not None:
        given = {**_for_own(train_fold, settings), **given}
    known = load_settings(None if config is None else Path(config), given, separator="_")
    from augsearch.search.pipelines.run import run as search

    with _in_one_line():
        outcome = search(known, display_of(progress))
        return Result(load_study(open_storage(known.tracking.storage), outcome.study))


def load(study: str, storage: str | None = None) -> Result:
    """A study that was run before, at whatever stage it is.

    Args:
        study: its name, as ``augsearch list`` shows it.
        storage: the database of the studies; None: ``$AUGSEARCH_STORAGE``, or ``mlruns/studies.db``.

    Raises:
        UserError: there is no such study, or it is not augsearch's.
    """
    with _in_one_line():
        return Result(load_study(open_to_read(storage or TrackingSettings().storage), study))


def _for_own(train_fold: TrainFold, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that go with a training of the user's own, where they are not given.

    Raises:
        UserError: it can't be run by other processes, as is asked for.
    """
    own = own_training(train_fold)
    importable = is_importable(own)
    if not importable and (settings.get("engine") or "inline") != "inline":
        raise UserError(
            f"train_fold {own.function} can't be imported by other processes: put it into a module "
            "of its own, or leave engine out"
        )
    engine = {} if importable else {"engine": "inline"}
    return {"train_fold": own, "teacher": "none", "final": False, "epochs": 1, **engine}


@contextmanager
def _in_one_line() -> Iterator[None]:
    """What the machine does to a search is said in one line, as everything that a person can mend."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = in_one_line(error)
        if said is None:  # a mistake of ours: whoever mends it needs all of it
            raise
        raise UserError(said) from error


def _check_names(settings: dict[str, Any]) -> None:
    """Refuse what is no setting, with the nearest that is one."""
    for name in settings:
        if name not in FLAT:
            near = difflib.get_close_matches(name, FLAT, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(f"run() has no setting {name!r}; {hint}augsearch run --help lists all")


def _signature() -> inspect.Signature:
    """``run``'s, with every setting by name: what an editor or a notebook completes."""
    written = inspect.signature(run).parameters
    own = [one for name, one in written.items() if name != "settings"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
        for name in DEFAULTS
        if name not in written
    ]
    return inspect.Signature([*own, *more], return_annotation=Result)


run.__signature__ = _signature()  # type: ignore[attr-defined]  # of any function, says inspect
