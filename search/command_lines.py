"""The commands that a person may want next, ready to paste; they do it as the run did."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Any

from augsearch.policies import OPERATION_SETS, Training
from augsearch.search.settings.addresses import ADDRESSES, redacted
from augsearch.search.settings.durations import duration_flag
from augsearch.search.settings.networks import FINETUNE
from augsearch.search.settings.sections import SMALL_NETWORK
from augsearch.search.settings.settings import DEFAULTS, FLAT, PLANNED, Settings
from augsearch.search.statistics.looks import LEAST_FOLDS, too_few_in_words
from augsearch.trainers.models.names import is_built_in
from augsearch.trainers.workspace.candidate import SELF

_OF_FINAL = (
    *("final_size", "final_epochs", "patience", "batch_size", "accumulation", "learning_rate"),
    *("label_smoothing", "warm_up", "ema", "precision", "clip", "average_flips", "crop_scale", "processes"),
)
"""What only a final training is told."""

TRAINED_BY = (
    *("image_size", "seed", "validation", "limit", "skip_bad_images", "min_per_class", "rare_classes"),
    *("weights", "input_size", *_OF_FINAL, "device"),
)
"""What a run says of its final training beside the network and what the policy file says."""


def run_command(settings: Settings) -> str:
    """The command that a run was started with, and that takes it up again, or the call."""
    if settings.proxy.own is not None:
        study = f", study={settings.tracking.study!r}" if settings.tracking.study else ""
        name = settings.proxy.own.function.partition(":")[2]
        return f"augsearch.search.run({settings.data.source!r}, train_fold={name}{study}, …)"
    fields = [name for name in FLAT if name not in ("data", "budget")]
    sizes = ""
    if settings.seconds is not None:
        # A size that was given is no longer planned, even where it is the usual one.
        fields = [name for name in fields if name not in PLANNED]
        given = [name for name in PLANNED if name in settings.given and settings.value(name) is not None]
        sizes = "".join(_flag(name, settings.value(name)) for name in given)
    return f"augsearch run{_data(settings)}{_budget(settings)}{sizes}{flags(settings, *fields)}"


def ui_command(settings: Settings) -> str:
    """Opens the trials in MLflow."""
    return f"augsearch ui{flags(settings, 'tracking_uri')}"


def watch_command(settings: Settings, study: str) -> str:
    """Serves the report while the search runs."""
    return f"augsearch watch {shlex.quote(study)}{flags(settings, 'storage')}"


def export_command(settings: Settings, study: str) -> str:
    """Writes the policy file."""
    return f"augsearch export {shlex.quote(study)} -o policy.json{flags(settings, 'storage')}"


def check_proxy_command(settings: Settings, study: str) -> str:
    """Measures how well the search's short trainings stand in for the final one."""
    return f"augsearch check-proxy{_data(settings)} --study {shlex.quote(study)}{flags(settings, 'storage')}"


def preview_command(settings: Settings) -> str:
    """Draws what the policy file does to the run's own images."""
    same_images = flags(settings, "image_size")
    return f"augsearch preview policy.json{_data(settings)} -o sheet.png{same_images}"


def train_command(settings: Settings, training: Training) -> str:
    """Trains the final model from the policy file, which says ``training``."""
    trained_by = [*TRAINED_BY]
    if training.asks_teacher:
        trained_by += ["teacher", "teacher_weights"]
    if training.semi:
        trained_by += ["unlabeled", "first_teacher"]
    if settings.transfer.mode != "search":  # then the policy file says it
        trained_by += ["transfer", "backbone_lr_scale", "layer_decay"]
    # Of one's own images ``train`` would pick one.
    usual = settings.data.source is None and settings.network == SMALL_NETWORK
    network = "" if usual else f" --model {shlex.quote(settings.network)}"
    how = f"{network}{flags(settings, *trained_by)}"
    return f"augsearch train{_data(settings)} --policy policy.json{how}"


def flags(settings: Settings, *names: str) -> str:
    """The flags that set these fields, where they are not as by default."""
    return "".join(
        _flag(name, settings.value(name)) for name in names if settings.value(name) != DEFAULTS[name]
    )


def _flag(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if name in ADDRESSES:
        if value == os.environ.get(ADDRESSES[name]):
            return ""  # the next command takes it from there too
        value = redacted(value)
    if isinstance(value, bool):
        return f" --{flag}" if value else f" --no-{flag}"
    if name == "baseline":
        return "".join(f" --{flag} {shlex.quote(one.file)}" for one in value)
    if isinstance(value, tuple):
        value = next((known for known, names in OPERATION_SETS.items() if names == value), ",".join(value))
    return f" --{flag} {shell_word(str(value))}"


def _budget(settings: Settings) -> str:
    """The flag without which the run would have another budget."""
    if settings.seconds is not None:
        return f" --budget {duration_flag(settings.seconds)}"
    usual = Settings.of(data=settings.data.source).with_usual_budget().seconds
    sized = flags(settings, *PLANNED, "timeout")
    return "" if usual is None or sized else " --budget none"


def _data(settings: Settings) -> str:
    source = settings.data.source
    return f" {shell_word(source)}{flags(settings, *FORM)}" if source else ""


FORM = (
    *("classes", "root", "image_column", "label_column", "split_column", "group_column", "weight_column"),
    "group_by",
    *("fit", "background", "value_range", "bands", "max_pixels"),
)
"""The flags without which the same data would be read in another way."""


def shell_word(text: str) -> str:
    """``text`` as a shell takes it; what can't be shown, as in a name that is not in UTF-8, by its bytes."""
    if text.isprintable():
        return shlex.quote(text)
    every = text.encode("utf-8", "surrogateescape")
    return (
        "$'"
        + "".join(chr(b) if (chr(b).isalnum() and b < 128) or b in b"._-/" else f"\\x{b:02x}" for b in every)
        + "'"
    )


_OF_UNLABELED = (
    *("threshold", "unlabeled_weight", "unlabeled_ratio", "class_cap", "rounds", "first_teacher"),
)
_OF_WEIGHTS = ("layer_decay", "backbone_lr_scale")


def of_no_use(settings: Settings) -> list[str]:
    """What a person is told of settings at once: ``without_effect``, and which can decide nothing."""
    folds = settings.confirmation.folds
    return [*without_effect(settings), *([too_few_in_words(folds)] if folds < LEAST_FOLDS else [])]


def without_effect(settings: Settings) -> list[str]:
    """A line for each reason why settings change nothing; by values, as a file gives the usual ones too."""
    found = []
    for names, why in _useless(settings):
        given = [name for name in names if settings.value(name) != DEFAULTS[name]]
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            found.append(f"{flags}: without effect, {why}")
    return found


def _useless(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    networks = (settings.proxy.model, settings.network)
    if is_built_in(settings.proxy.model) and settings.proxy.kind != FINETUNE:
        yield ("proxy_size",), "as the search's network learns from scratch; give --proxy finetune"
    if not settings.unlabeled.wanted:
        yield _OF_UNLABELED, "as no images without labels are used; give --unlabeled or --semi"
    if settings.transfer.mode != "search" and not any(map(settings.transfer_of, networks)):
        yield _OF_WEIGHTS, "as no network starts from weights; name one with --final-model or --proxy-model"
    if all(map(is_built_in, networks)):
        yield ("input_size",), "as networks that are built in take images as they are"
        if settings.transfer.weights != "none":
            yield ("weights",), "as networks that are built in learn from scratch"
    if not settings.with_teacher:
        yield ("teacher_view", "teacher_weights"), "as there is no teacher; leave --teacher none out"
    elif settings.teacher.network == SELF or is_built_in(settings.teacher.network):
        yield ("teacher_weights",), "as this teacher learns from scratch; name another with --teacher"
    if not settings.final.train:
        # To refine N and M trains such models all the same, and what comes of it is exported.
        of_trainings = () if settings.final.refine else _OF_FINAL
        yield (*of_trainings, "final_seeds"), "as no final model is trained; leave --no-final out"
