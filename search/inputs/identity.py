"""What makes a study the one it is: its data and the settings that decide its scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augsearch.policies import Transfer
from augsearch.search.inputs.run_data import Data
from augsearch.search.settings.sections import PAIRED
from augsearch.search.settings.settings import Settings
from augsearch.trainers.system.hashing import content_of, digest, hex_hash
from augsearch.trainers.workspace.folder import Workspace
from augsearch.trainers.workspace.folds import most_scored

if TYPE_CHECKING:
    pass

PLANNED_BY_BUDGET = "budget"
"""What stands for a size that a budget plans."""


def identity_of(settings: Settings, data: Data) -> dict[str, Any]:
    """What must be the same for a study to be taken up again.

    Sizes that a budget plans say so: what comes of them differs from machine to machine.
    """
    proxy, planned = data.workspace.proxy, settings.left_to_budget
    return {
        "data": data.label,
        "splits": digest(data.splits.digests())[:12],
        "image size": int(data.images.images.shape[1]),
        "seed": settings.seed,
        "folds": PLANNED_BY_BUDGET if "folds" in planned else settings.search.folds,
        "limit": settings.data.limit,
        "operations": ", ".join(settings.search.operations),
        "epochs": PLANNED_BY_BUDGET if "epochs" in planned else proxy.epochs,
        "fold size": PLANNED_BY_BUDGET if "fold_size" in planned else proxy.fold_size,
        "transfer": _transfer_in_words(settings),
        "teacher view": settings.teacher.view if settings.with_teacher else None,
        "semi": _semi_in_words(settings),
        "unlabeled": f"{data.unlabeled.name} {data.unlabeled.fingerprint[:12]}" if data.unlabeled else None,
        **by_content(
            {
                "proxy model": proxy.model,
                "weights": proxy.weights,
                "input size": proxy.input_size,
                "teacher": proxy.teacher,
                "teacher weights": proxy.teacher_weights,
            }
        ),
        **_named_where_set(settings, data),
    }


def _named_where_set(settings: Settings, data: Data) -> dict[str, str]:
    """Fields that studies of old don't have: left out where they say nothing, or those got other names."""
    fields = {
        "space": settings.search.space if settings.search.space != "randaugment" else None,
        "metric": settings.search.metric if settings.search.metric != "accuracy" else None,
        "sampler": settings.search.sampler if settings.search.sampler != "tpe" else None,
        "pruner": settings.search.pruner if settings.search.pruner != PAIRED else None,
        "scored": _scored_where_fewer(data.workspace),
        "rare classes": _rare_in_words(settings),
        "class balance": settings.space.class_balance,
        "baselines": _baselines_in_words(settings),
        "trained by": str(settings.proxy.own) if settings.proxy.own else None,
        "groups": _groups_of(data),
        "validation": data.target.fingerprint[:12] if data.target else None,
        # Until there was one for each fold, it was trained once, on the whole training part.
        "trained teacher": "of each fold" if data.workspace.trains_teachers else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _scored_where_fewer(workspace: Workspace) -> str | None:
    """How many images score a candidate in the search, where they are not all of the part."""
    target = workspace.target
    every = workspace.validation if target is None else target.validation
    scored = min(len(every), most_scored(workspace.proxy.fold_size, workspace.proxy.epochs))
    return f"{scored} of {len(every)}" if scored < len(every) else None


def _groups_of(data: Data) -> str | None:
    groups = data.images.groups
    return None if groups is None else hex_hash(groups.astype("<i8").tobytes(), size=6)


def _rare_in_words(settings: Settings) -> str | None:
    least = settings.data.min_per_class
    return None if least is None else f"{settings.data.rare_classes or 'drop'} below {least} images"


def _baselines_in_words(settings: Settings) -> str | None:
    """The policies given to be measured against, by name and content."""
    given = settings.search.baselines
    return ", ".join(f"{one.name} {digest(one.policy.model_dump(mode='json'))[:6]}" for one in given) or None


def study_name(settings: Settings, data: Data) -> str:
    """As it was given, or after the data and a hash of what must be the same."""
    return settings.tracking.study or f"{data.images.name}-{digest(identity_of(settings, data))[:6]}"


def by_content(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` with the content of a file in the place of its path."""
    return {name: content_of(value) if isinstance(value, str) else value for name, value in fields.items()}


def _transfer_in_words(settings: Settings) -> str | None:
    transfer = settings.space.transfer
    return transfer.model_dump_json() if isinstance(transfer, Transfer) else transfer


def _semi_in_words(settings: Settings) -> str | None:
    space = settings.space.semi
    if space is None:
        return None
    given = "".join(f", {name} {value}" for name, value in space.fixed)
    return f"{'search' if space.searched else space.techniques[0]}{given}"
