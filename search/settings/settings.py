"""All settings as one frozen object, checked once.

A setting has two names: its section and field, as in the TOML file (``confirmation.folds``), and one flat
name (``confirm_folds``), after which its flag is called. Flat names are read wherever settings are read:
files, and the records of studies, had no sections once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from augsearch.policies import Transfer
from augsearch.search.settings.addresses import ADDRESSES, is_redacted, redacted
from augsearch.search.settings.data import DataSettings
from augsearch.search.settings.durations import seconds_of
from augsearch.search.settings.networks import FINETUNE, ProxySettings, TeacherSettings, TransferSettings
from augsearch.search.settings.sections import (
    AUTO,
    SMALL_NETWORK,
    ConfirmationSettings,
    EngineSettings,
    FinalSettings,
    Flat,
    GivenBaseline,
    SearchSettings,
    Section,
    TrackingSettings,
    UnlabeledSettings,
)
from augsearch.search.space.space import MIXING, TECHNIQUES, SemiSpace, Space
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.models.names import WITH_WEIGHTS, hub_of, is_built_in, is_model_file
from augsearch.trainers.models.spec import family_of
from augsearch.trainers.training.recipe import usual_layer_decay
from augsearch.trainers.workspace.candidate import SELF
from augsearch.trainers.workspace.own_training import OwnTraining

PLANNED = ("trials", "folds", "confirm_folds", "epochs", "fold_size", "final_epochs")
"""The sizes that a budget plans, by flat name, where they aren't given."""
LARGEST_MARGIN = 50
"""Points: whoever asks for more means another unit."""
EMBEDDED_BUDGET = 240.0
"""Seconds that a run on the embedded data may take, where neither a budget nor any size is given."""


class Settings(Section):
    """Everything that ``augsearch run`` can be told; takes sections and flat names alike."""

    seed: int = Field(default=0, ge=0, le=2**31)
    """Everything random follows from it."""
    budget: float | Literal["none"] | None = None
    """Seconds that a run may take, from its beginning to its end; None: see ``with_usual_budget``."""
    data: DataSettings = DataSettings()
    search: SearchSettings = SearchSettings()
    proxy: ProxySettings = ProxySettings()
    transfer: TransferSettings = TransferSettings()
    teacher: TeacherSettings = TeacherSettings()
    confirmation: ConfirmationSettings = ConfirmationSettings()
    unlabeled: UnlabeledSettings = UnlabeledSettings()
    final: FinalSettings = FinalSettings()
    engine: EngineSettings = EngineSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="before")
    @classmethod
    def _in_sections(cls, values: Any) -> Any:
        return in_sections(values) if isinstance(values, Mapping) else values

    @field_validator("budget", mode="before")
    @classmethod
    def _budget_in_seconds(cls, written: Any) -> Any:
        return written if written in (None, "none") else seconds_of(written)

    @model_validator(mode="after")
    def _transfer_has_weights(self) -> Settings:
        mode, proxy = self.transfer.mode, self.proxy.model
        weighted = {self.weights_of(name) != "none" for name in (proxy, self.network)}
        # Of images of one's own a network is picked, and then it is looked whether it has weights.
        named = self.names_network or self.data.source is None or not self.final.train
        if mode in ("head", "full") and weighted == {False} and named:
            raise ValueError(
                f"transfer {mode} needs a network with weights; name one with --final-model or "
                f"--proxy-model ({WITH_WEIGHTS})"
            )
        if mode == "search" and self.weights_of(proxy) == "none" and self.proxy.kind != FINETUNE:
            raise ValueError(
                "transfer search needs weights for the search's network; name one with --proxy-model "
                f"({WITH_WEIGHTS}), or give --proxy finetune"
            )
        return self

    @model_validator(mode="after")
    def _rare_is_said(self) -> Settings:
        if self.data.rare_classes is not None and self.data.min_per_class is None:
            raise ValueError(
                "--rare-classes says what becomes of classes with too few images; give --min-per-class too"
            )
        return self

    @model_validator(mode="after")
    def _baselines_fit(self) -> Settings:
        # A study of the first edition has fewer, so a new one is looked at again when it is made.
        needed, trials = len(self.space.baselines), self.search.trials
        if trials < len(replace(self.space, edition=1).baselines):
            raise ValueError(f"trials must be at least {needed}, the baselines, got {trials}")
        return self

    @model_validator(mode="after")
    def _margin_in_its_unit(self) -> Settings:
        margin, metric = self.confirmation.margin, METRICS[self.search.metric]
        if margin is not None and metric.factor * margin >= LARGEST_MARGIN:
            raise ValueError(
                f"margin {margin:g} would be {metric.factor * margin:g} {metric.difference_unit}; "
                f"{1 / metric.factor:g} is one point"
            )
        return self

    @model_validator(mode="after")
    def _teacher_for_unlabeled(self) -> Settings:
        semi = self.unlabeled.semi
        if semi in TECHNIQUES and _asks_teacher(semi) and not self.with_teacher:
            raise ValueError(f"semi {semi} needs a teacher; leave --teacher none out")
        return self

    @model_validator(mode="after")
    def _refined_without_budget(self) -> Settings:
        if self.final.refine and self.seconds is not None:
            raise ValueError(
                "refine trains more final models than a budget plans; leave --refine or --budget out"
            )
        return self

    @model_validator(mode="after")
    def _address_is_of_a_cluster(self) -> Settings:
        if self.engine.address is not None and self.engine.name not in ("ray", "slurm"):
            raise ValueError(
                f"address {self.engine.address}: engine {self.engine.name} has none; add --engine ray"
            )
        return self

    @model_validator(mode="after")
    def _workers_counted_once(self) -> Settings:
        if self.engine.workers is not None and self.engine.workers_per_device is not None:
            raise ValueError("workers is the number on all devices; leave it or workers_per_device out")
        return self

    @model_validator(mode="after")
    def _own_training_alone(self) -> Settings:
        if self.proxy.own is None:
            return self
        useless = {
            "teacher": self.with_teacher,
            "final": self.final.train,
            "refine": self.final.refine,
            "semi": self.unlabeled.wanted,
            "transfer": self.transfer.mode is not None,
            "class_balance": self.search.class_balance != "none",
            "proxy": self.proxy.kind == FINETUNE,
            "proxy_model": self.proxy.model != ProxySettings().model,
            "epochs": self.proxy.epochs not in (None, 1),
        }
        if names := [name for name, is_set in useless.items() if is_set]:
            raise ValueError(f"your own train_fold knows nothing of {', '.join(names)}; leave that out")
        return self

    @property
    def with_teacher(self) -> bool:
        """Whether distillation is searched."""
        return self.teacher.network != "none"

    @property
    def network(self) -> str:
        """The final model's network."""
        if self.final.model is not None:
            return self.final.model
        return SMALL_NETWORK if is_built_in(self.proxy.model) else self.proxy.model

    @property
    def stands_in(self) -> bool:
        """Whether the search trains another network than a final one with weights, or it at another side."""
        other = is_built_in(self.proxy.model) or self.proxy.size not in (None, self.final.size)
        return self.final.train and other and not is_built_in(self.network)

    @property
    def compares_on_final(self) -> bool:
        """Whether the best policies are compared on the final network: if asked, or if another stands in.

        With three seeds or as many as a budget allows, where nobody says with how many.
        """
        wanted = is_built_in(self.proxy.model) if self.final.seeds is None else self.final.seeds > 0
        return self.final.train and wanted and (self.stands_in or self.final.seeds is not None)

    @property
    def names_network(self) -> bool:
        """Whether it is said which network is to ship: by ``--final-model``, or as that of the search too."""
        return "final_model" in self.given or not is_built_in(self.proxy.model)

    def weights_of(self, network: str) -> str:
        """What ``network`` starts from: ``none``, ``hub`` or a file."""
        if is_model_file(network):
            return network
        if is_built_in(network):
            return "none"
        if self.transfer.weights != AUTO:
            return self.transfer.weights
        return "none" if self.transfer.mode == "none" else "hub"

    @property
    def teacher_weights(self) -> str:
        """What a teacher that is trained here starts from, where it is another network than its student."""
        if self.teacher.network == SELF or is_built_in(self.teacher.network):
            return "none"
        return "hub" if self.teacher.weights == AUTO else self.teacher.weights

    @property
    def first_teacher_weights(self) -> str:
        """What self-training's first teacher starts from; a file of weights is for its students' network."""
        first = self.unlabeled.first_teacher
        weights = "none" if first is None else self.weights_of(first)
        return weights if weights in ("none", first) else "hub"

    def transfer_of(self, network: str) -> Transfer | None:
        """How ``network``'s weights are used, where that is not searched; None: there are none."""
        if self.weights_of(network) == "none" or self.transfer.mode == "none":
            return None
        return Transfer(
            mode="head" if self.transfer.mode == "head" else "full",
            backbone_lr_scale=self.transfer.backbone_lr_scale,
            layer_decay=self.transfer.layer_decay or usual_layer_decay(family_of(network)),
        )

    @property
    def space(self) -> Space:
        """What the search may choose from."""
        searched = self.transfer.mode == "search"
        return Space(
            operations=self.search.operations,
            name=self.search.space,
            teacher_view=self.teacher.view if self.with_teacher else None,
            transfer="search" if searched else self.transfer_of(self.proxy.model),
            semi=self._semi_space if self.unlabeled.wanted else None,
            class_balance=None if self.search.class_balance == "none" else self.search.class_balance,
            left_out=MIXING if self.proxy.own is not None else (),
            given=tuple((one.name, one.policy) for one in self.search.baselines),
        )

    @property
    def _semi_space(self) -> SemiSpace:
        fixed, technique = tuple(self.unlabeled.fields.items()), self.unlabeled.semi
        if technique is not None and technique in TECHNIQUES:
            return SemiSpace((technique,), searched=False, fixed=fixed)
        known = [name for name in TECHNIQUES if self.with_teacher or not _asks_teacher(name)]
        return SemiSpace(tuple(known), searched=True, fixed=fixed)

    @property
    def seconds(self) -> float | None:
        """The budget; None: a run takes as long as it takes."""
        return self.budget if isinstance(self.budget, float) else None

    def with_usual_budget(self) -> Settings:
        """These settings with the budget that a run has where none is given.

        The embedded data has one, unless a size is given: then results are to be the same on any machine.
        """
        if self.budget is not None or self.data.source is not None:
            return self
        sized = self.final.refine or self.given & {*PLANNED, "timeout"}
        return self.changed(budget="none" if sized else EMBEDDED_BUDGET)

    @property
    def left_to_budget(self) -> tuple[str, ...]:
        """The flat names of the sizes that the budget plans; none where there is no budget."""
        return () if self.seconds is None else tuple(name for name in PLANNED if name not in self.given)

    def flat(self) -> dict[str, Any]:
        """Plain values by flat name: how settings stand in a study and among MLflow's parameters.

        Without those that the budget plans: they are no setting's then. Addresses are without passwords.
        """
        nested = self.model_dump(mode="json")
        nested["tracking"] |= {
            field: redacted(nested["tracking"][field]) for _, field in map(FLAT.__getitem__, ADDRESSES)
        }
        planned = self.left_to_budget
        return {
            flat: nested[section][field] if section else nested[field]
            for flat, (section, field) in FLAT.items()
            if flat not in planned
        }

    def value(self, flat: str) -> Any:
        """The value of the setting with this flat name."""
        section, field = FLAT[flat]
        return getattr(getattr(self, section) if section else self, field)

    @property
    def given(self) -> frozenset[str]:
        """The flat names of the settings that were given, even where the value is the default."""
        return frozenset(
            flat
            for flat, (section, field) in FLAT.items()
            if field in (getattr(self, section) if section else self).model_fields_set
        )

    @classmethod
    def of(cls, **values: Any) -> Settings:
        """Settings by flat name, checked: ``Settings.of(trials=30, seed=1)``.

        Raises:
            ValidationError: a value breaks its rule, or a name is unknown.
        """
        return cls.model_validate(values)

    @classmethod
    def recorded(cls, said: Mapping[str, Any]) -> Settings:
        """Settings that a study recorded, unchecked: what they name may be gone, and fields come and go.

        Addresses that were recorded without their password are as by default.
        """
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
        if isinstance(own := plain.get("train_fold"), Mapping):
            plain["train_fold"] = OwnTraining.model_validate(own)
        plain["baseline"] = tuple(map(GivenBaseline.model_validate, plain.get("baseline", ())))
        if said.get("weights", AUTO) is None:
            plain["weights"] = _weights_then(said)
        useless = {name for name in ADDRESSES if is_redacted(str(plain.get(name)))}
        return cls().changed(
            **{name: value for name, value in plain.items() if name in FLAT and name not in useless}
        )

    def changed(self, **values: Any) -> Settings:
        """These settings with others for some flat names; values are trusted, not checked."""
        updates: dict[str, Any] = {}
        for flat, value in values.items():
            section, field = FLAT[flat]
            if not section:
                updates[field] = value
                continue
            before = updates.get(section, getattr(self, section))
            updates[section] = before.model_copy(update={field: value})
        return self.model_copy(update=updates)


def _weights_then(said: Mapping[str, Any]) -> str:
    """What no ``--weights`` meant while hubs' networks learned from scratch but for a transfer."""
    named = [name for name in (said.get("proxy_model"), said.get("final_model")) if name]
    scratch = said.get("transfer") in (None, "none") and any(hub_of(name) for name in named)
    return "none" if scratch else AUTO


def _asks_teacher(technique: str) -> bool:
    return SemiSpace((technique,), searched=False).usual(technique).asks_teacher


def _flat_names() -> dict[str, tuple[str, str]]:
    """Flat name → section, empty for none, and field."""
    found: dict[str, tuple[str, str]] = {}
    for section, info in Settings.model_fields.items():
        kind = info.annotation
        if not (isinstance(kind, type) and issubclass(kind, Section)):
            found[section] = ("", section)
            continue
        for field, inner in kind.model_fields.items():
            named = [extra.name for extra in inner.metadata if isinstance(extra, Flat)]
            found[named[0] if named else field] = (section, field)
    return found


FLAT = _flat_names()
"""Where the setting of each flat name stands: its section, empty for none, and its field there."""


def in_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, by section or by flat name, all by section; names that are neither stay as they are.

    Some sections are called like a setting of old: a table is the section, anything else the setting.
    """
    sections = {section for section, _ in FLAT.values()}
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, field = FLAT.get(name, ("", name))
        if name in sections and isinstance(value, Section):
            nested[name] = {key: getattr(value, key) for key in value.model_fields_set} | nested.get(name, {})
        elif name in sections and isinstance(value, Mapping):
            nested[name] = {**nested.get(name, {}), **value}
        elif section:
            table = nested.setdefault(section, {})
            if isinstance(table, dict):  # else it is refused as a section
                table[field] = value
        else:
            nested[field] = value
    return nested


DEFAULTS = {flat: Settings().value(flat) for flat in FLAT}
"""What each setting is where nothing is given, by flat name."""
