"""The driver's storage: it alone writes, so it remembers all, and writes what goes together at once.

Optuna's own asks the database anew for whatever it is asked, and commits every parameter and attribute by
itself: some 160 statements a trial. Here a study is read once; a trial is written with its parameters and
its candidate in one transaction, so a kill leaves it whole or not at all, and a fold with what follows of it.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from augsearch.policies import UserError
from augsearch.search.studies import rows
from augsearch.search.studies.retries import persistently
from augsearch.search.studies.rows import PARAM, STEP, SYSTEM, USER, VALUE, Changes, Part

_DRIVER = "augsearch:driver"
"""The system attribute of a study that tells who wrote to it last."""
_STUDY = 0
"""The study's number in memory, where it is the only one."""
Choose = Callable[[list[FrozenTrial]], list[FrozenTrial]]
"""Picks some of all trials."""


def together(study: optuna.Study) -> AbstractContextManager[None]:
    """Within it what is written to ``study`` is remembered, and goes to the database in one go at its end.

    What ends it by Ctrl-C writes nothing; an error does, as what was found out before it holds.
    """
    storage = study._storage
    return storage.together() if isinstance(storage, DriverStorage) else nullcontext()


def showing(study: optuna.Study, choose: Choose) -> AbstractContextManager[None]:
    """Within it who asks for trials gets those alone that ``choose`` takes, where a driver remembers them."""
    storage = study._storage
    return storage.showing(choose) if isinstance(storage, DriverStorage) else nullcontext()


def driver_storage(remote: RDBStorage, study: str, renew: Callable[[], None] | None = None) -> BaseStorage:
    """What the only driver of ``study`` keeps it in: ``remote``, told what the driver remembers.

    ``remote`` itself, which is slower, of a database or a release of Optuna whose tables aren't known.
    """
    known = remote.engine.dialect.name in rows.DIALECTS and rows.optuna_has_these_tables()
    return DriverStorage(remote, study, renew) if known else remote


class DriverStorage(BaseStorage):
    """One study, in memory as in the database ``remote``. For one thread, and one process at a time.

    A trial's id is its number. Statements are made again while the database is away; what was written before
    it went is not written twice.
    """

    def __init__(self, remote: RDBStorage, name: str, renew: Callable[[], None] | None = None) -> None:
        """``renew`` makes sure, after the connection was lost, that no other driver is at work.

        Raises:
            UserError: by ``renew``; also later, by whatever writes.
        """
        self._remote, self._name, self._renew = remote, name, renew
        self._memory = InMemoryStorage()
        self._row: int | None = None
        self._ids: dict[int, int] = {}
        self._changes, self._depth = Changes(), 0
        self._driver = uuid.uuid4().hex
        self._reconnected = False
        self._choose: Choose | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """See the function of this name."""
        self._depth += 1
        try:
            yield
        except Exception:
            self._end()
            raise
        except BaseException:
            self._depth, self._changes = 0, Changes()
            raise
        self._end()

    @contextmanager
    def showing(self, choose: Choose) -> Iterator[None]:
        """Within it who asks for trials gets those alone that ``choose`` takes."""
        self._choose = choose
        try:
            yield
        finally:
            self._choose = None

    def _end(self) -> None:
        self._depth -= 1
        self._written()

    def _written(self) -> None:
        """Write what changed, unless more is to come."""
        if self._depth or not self._changes:
            return
        changes, trials = self._changes, self._memory.get_all_trials(_STUDY, deepcopy=False)
        assert self._row is not None
        study = self._row

        def attempt(number: int) -> dict[int, int]:
            with self._remote.engine.begin() as connection:
                self._still_alone(connection)
                return rows.write(connection, study, changes, trials, self._ids, again=number > 0)

        self._ids |= persistently(attempt)
        self._changes = Changes()

    def _still_alone(self, connection: Any) -> None:
        """Once a connection was lost, another driver may have begun: the lock went with it."""
        if not self._reconnected:
            return
        if self._renew is not None:
            self._renew()
        if self._last_driver(connection) != self._driver:
            raise UserError(f"study {self._name!r} was taken up by another process meanwhile")
        self._reconnected = False

    def _last_driver(self, connection: Any) -> str | None:
        from optuna.storages._rdb.models import StudySystemAttributeModel
        from sqlalchemy import select

        table = StudySystemAttributeModel.__table__
        asked = select(table.c.value_json).where(table.c.study_id == self._row, table.c.key == _DRIVER)
        found = connection.execute(asked).scalar()
        return None if found is None else json.loads(found)

    def _read(self) -> None:
        """Learn all that the database knows of the study, and have it know who drives it now."""
        remote, name = self._remote, self._name
        row = persistently(lambda _: remote.get_study_id_from_name(name))
        directions = persistently(lambda _: remote.get_study_directions(row))
        self._memory.create_new_study(directions, name)
        for key, value in persistently(lambda _: remote.get_study_user_attrs(row)).items():
            self._memory.set_study_user_attr(_STUDY, key, value)
        for key, value in persistently(lambda _: remote.get_study_system_attrs(row)).items():
            self._memory.set_study_system_attr(_STUDY, key, value)
        for trial in persistently(lambda _: remote.get_all_trials(row, deepcopy=False)):
            number = self._memory.create_new_trial(_STUDY, trial)
            assert number == trial.number
            self._ids[number] = trial._trial_id
        self._row = row
        self.set_study_system_attr(_STUDY, _DRIVER, self._driver)
        event.listen(remote.engine, "connect", self._connected_again)

    def _connected_again(self, *_: Any) -> None:
        self._reconnected = True

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Make the study in the database.

        Raises:
            DuplicatedStudyError: it is there.
        """
        assert study_name == self._name
        persistently(lambda _: self._remote.create_new_study(directions, study_name))
        return self.get_study_id_from_name(self._name)

    def delete_study(self, study_id: int) -> None:
        """No driver does."""
        raise NotImplementedError

    def get_study_id_from_name(self, study_name: str) -> int:
        """Read it, the first time."""
        assert study_name == self._name
        if self._row is None:
            self._read()
        return _STUDY

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep an attribute of the study."""
        self._memory.set_study_user_attr(study_id, key, _as_read(value))
        self._changes.attributes[USER, key] = value
        self._written()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep an attribute of the study that is Optuna's own."""
        self._memory.set_study_system_attr(study_id, key, _as_read(value))
        self._changes.attributes[SYSTEM, key] = value
        self._written()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begin a trial, or keep one that is made already."""
        if template_trial is not None:
            template_trial = copy.copy(template_trial)
            template_trial.user_attrs = _as_read(template_trial.user_attrs)
            template_trial.system_attrs = _as_read(template_trial.system_attrs)
        number = self._memory.create_new_trial(study_id, template_trial)
        self._changes.begun.add(number)
        if template_trial is not None:
            one = template_trial
            parts: set[Part] = {(PARAM, name) for name in one.params}
            parts |= {(USER, name) for name in one.user_attrs}
            parts |= {(SYSTEM, name) for name in one.system_attrs}
            parts.update((STEP, step) for step in one.intermediate_values)
            parts.update((VALUE, objective) for objective in range(len(one.values or ())))
            self._changes.trials[number] = parts
        self._written()
        return number

    def _changed(self, number: int, kind: str, name: Any) -> None:
        self._changes.trials.setdefault(number, set()).add((kind, name))
        self._written()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Keep a parameter."""
        self._memory.set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._changed(trial_id, PARAM, param_name)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Keep how a trial goes on or ends."""
        done = self._memory.set_trial_state_values(trial_id, state, values)
        if done:
            self._changes.turned.add(trial_id)
            for objective in range(len(values or ())):
                self._changes.trials.setdefault(trial_id, set()).add((VALUE, objective))
            self._written()
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Keep what a fold came to."""
        self._memory.set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._changed(trial_id, STEP, step)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a trial."""
        self._memory.set_trial_user_attr(trial_id, key, _as_read(value))
        self._changed(trial_id, USER, key)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a trial that is Optuna's own."""
        self._memory.set_trial_system_attr(trial_id, key, _as_read(value))
        self._changed(trial_id, SYSTEM, key)

    # What is asked is answered from memory.

    def get_study_name_from_id(self, study_id: int) -> str:
        """The study's name."""
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Whether more is better."""
        return self._memory.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The attributes of the study."""
        return self._memory.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Those that are Optuna's own."""
        return self._memory.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        """This one."""
        return self._memory.get_all_studies()

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial of this number."""
        return self._memory.get_trial(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials, or those in some states, in order."""
        if self._choose is None:
            return self._memory.get_all_trials(study_id, deepcopy, states)
        shown = self._choose(self._memory.get_all_trials(study_id, deepcopy=False))
        shown = shown if states is None else [trial for trial in shown if trial.state in states]
        return copy.deepcopy(shown) if deepcopy else shown


def _as_read(value: Any) -> Any:
    """``value`` as a database gives it back."""
    return json.loads(json.dumps(value))
