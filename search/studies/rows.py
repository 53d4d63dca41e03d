"""What changed of a study, as rows of Optuna's tables: few statements, and the same however often written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Insert, Table

DIALECTS = ("sqlite", "postgresql", "mysql", "mariadb")
"""The databases whose way is known to say: insert, or else update."""

KNOWN_SCHEMA = 12
"""The version of Optuna's tables that is known here, that of Optuna 5.0."""

PARAM, USER, SYSTEM, STEP, VALUE = "param", "user", "system", "step", "value"
"""What there is of a trial beside its own row."""
Part = tuple[str, Any]
"""One of these, and its name, step or number."""


def optuna_has_these_tables() -> bool:
    """Whether this release of Optuna keeps a study in the tables that are written here; they are its own."""
    try:
        from optuna.storages._rdb.models import SCHEMA_VERSION
    except ImportError:
        return False
    return SCHEMA_VERSION == KNOWN_SCHEMA


def make_room(engine: Engine) -> None:
    """Let attributes be as long as elsewhere in MySQL, whose TEXT, where Optuna keeps them, ends at 64 KiB.

    The scores of some 12,000 images are longer, where each is a number.
    """
    from sqlalchemy import text

    if engine.dialect.name not in ("mysql", "mariadb"):
        return
    short = (
        "SELECT table_name FROM information_schema.columns WHERE table_schema = DATABASE() "
        "AND column_name = 'value_json' AND data_type = 'text'"
    )
    with engine.begin() as connection:
        for (table,) in connection.execute(text(short)).all():
            connection.execute(text(f"ALTER TABLE `{table}` MODIFY value_json LONGTEXT"))


@dataclass(slots=True)
class Changes:
    """What a database has to be told."""

    trials: dict[int, set[Part]] = field(default_factory=dict)
    """By the trial's number: the parts of it that are new, or other ones."""
    begun: set[int] = field(default_factory=set)
    """Trials that are new, by number."""
    turned: set[int] = field(default_factory=set)
    """Trials whose state is another one."""
    attributes: dict[Part, Any] = field(default_factory=dict)
    """The study's own, user's and system's."""

    def __bool__(self) -> bool:
        return bool(self.trials or self.begun or self.turned or self.attributes)


def write(
    connection: Connection,
    study: int,
    changes: Changes,
    trials: Sequence[FrozenTrial],
    ids: dict[int, int],
    *,
    again: bool,
) -> dict[int, int]:
    """Write what changed of ``trials``, all of the study's; returns the rows of new trials by number.

    ``ids``: the rows of those that were written before. ``again``: an attempt before may have written it.
    """
    from optuna.storages._rdb import models

    made = _known(connection, study, changes.begun) if again else {}
    for number in sorted(changes.begun - made.keys()):
        new = _own_row(study, trials[number])
        key = connection.execute(models.TrialModel.__table__.insert().values(**new)).inserted_primary_key
        assert key is not None
        made[number] = key[0]
    ids = ids | made
    table = models.TrialModel.__table__
    for number in sorted(changes.turned if again else changes.turned - changes.begun):
        row = _own_row(study, trials[number])
        connection.execute(table.update().where(table.c.trial_id == ids[number]).values(**row))
    parts = [
        (kind, {"trial_id": ids[number], **_columns(trials[number], kind, name)})
        for number, changed in sorted(changes.trials.items())
        for kind, name in _in_order(trials[number], changed)
    ]
    for kind, model, unique in (
        (PARAM, models.TrialParamModel, "param_name"),
        (USER, models.TrialUserAttributeModel, "key"),
        (SYSTEM, models.TrialSystemAttributeModel, "key"),
        (STEP, models.TrialIntermediateValueModel, "step"),
        (VALUE, models.TrialValueModel, "objective"),
    ):
        put(connection, model.__table__, ("trial_id", unique), [row for one, row in parts if one == kind])
    for kind, owned in (
        (USER, models.StudyUserAttributeModel),
        (SYSTEM, models.StudySystemAttributeModel),
    ):
        rows = [
            {"study_id": study, "key": key, "value_json": json.dumps(value)}
            for (one, key), value in changes.attributes.items()
            if one == kind
        ]
        put(connection, owned.__table__, ("study_id", "key"), rows)
    return made


def put(connection: Connection, table: Table, unique: tuple[str, str], rows: list[dict[str, Any]]) -> None:
    """Insert ``rows``; where one with the same ``unique`` columns is there, it becomes the new one."""
    if rows:
        others = [name for name in rows[0] if name not in unique]
        connection.execute(_upsert(connection.dialect.name, table, unique, others), rows)


def _upsert(dialect: str, table: Table, unique: tuple[str, str], others: Iterable[str]) -> Insert:
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql

        theirs = mysql.insert(table).inline()
        return theirs.on_duplicate_key_update({name: theirs.inserted[name] for name in others})
    from sqlalchemy.dialects import postgresql, sqlite

    ours = (sqlite if dialect == "sqlite" else postgresql).insert(table).inline()
    news = {name: ours.excluded[name] for name in others}
    upsert: Insert = ours.on_conflict_do_update(index_elements=list(unique), set_=news)
    return upsert


def _own_row(study: int, trial: FrozenTrial) -> dict[str, Any]:
    """The columns of a trial's own row but for its key; Optuna knows how it keeps times."""
    from optuna.storages._rdb import models
    from sqlalchemy import inspect

    model = models.TrialModel(
        study_id=study,
        number=trial.number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )
    columns = {one.columns[0].name: getattr(model, one.key) for one in inspect(type(model)).column_attrs}
    del columns["trial_id"]
    return columns


def _known(connection: Connection, study: int, numbers: Iterable[int]) -> dict[int, int]:
    """The rows of those trials of the study that are there, by number."""
    from optuna.storages._rdb import models
    from sqlalchemy import select

    table = models.TrialModel.__table__
    asked = select(table.c.number, table.c.trial_id).where(
        table.c.study_id == study, table.c.number.in_(list(numbers))
    )
    return {row.number: row.trial_id for row in connection.execute(asked)}


def _in_order(trial: FrozenTrial, changed: set[Part]) -> list[Part]:
    """Parameters in the order in which they were suggested, as Optuna reads them back."""
    params = [(PARAM, name) for name in trial.params if (PARAM, name) in changed]
    return [*params, *sorted((part for part in changed if part[0] != PARAM), key=str)]


def _columns(trial: FrozenTrial, kind: str, name: Any) -> dict[str, Any]:
    from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialValueModel

    if kind == PARAM:
        distribution = trial.distributions[name]
        return {
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
    if kind == STEP:
        step, how = TrialIntermediateValueModel.intermediate_value_to_stored_repr(
            trial.intermediate_values[name]
        )
        return {"step": name, "intermediate_value": step, "intermediate_value_type": how}
    if kind == VALUE:
        value, called = TrialValueModel.value_to_stored_repr(trial.values[name])
        return {"objective": name, "value": value, "value_type": called}
    known = trial.user_attrs if kind == USER else trial.system_attrs
    return {"key": name, "value_json": json.dumps(known[name])}
