"""``augsearch run``, step by step."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import optuna

from augsearch.policies import UserError, read_policy, write_policy
from augsearch.search.confirm import Verdict, choose_finalists, confirm, judge, missing_folds
from augsearch.search.data import Data, digest, identity_of, make_folder, open_data
from augsearch.search.display import Display, RaceView
from augsearch.search.engines import Engine, LocalEngine
from augsearch.search.export import policy_file_of
from augsearch.search.final_plans import final_key
from augsearch.search.finals import draw_teacher, log_final, train_and_test
from augsearch.search.race import Race, TrialDone
from augsearch.search.settings import HOME, Settings, available_cores, show_settings
from augsearch.search.studies import Entry, entries, open_storage, open_study
from augsearch.search.tracking import Tracker
from augsearch.search.wording import describe


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    study: str
    verdict: Verdict
    policy_file: Path
    final: dict[str, Any] | None
    """The final model's path and figures; None with ``--no-final``."""


def run(settings: Settings, display: Display) -> Outcome:
    """Search, confirm, decide, export and train the final model; whatever is done already is not done again.

    Raises:
        UserError: the input is bad; nothing is lost.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    data = open_data(settings, display)
    identity = identity_of(settings, data)
    name = settings.study or f"{data.images.name}-{digest(identity)[:6]}"
    output = settings.output or HOME / name
    make_folder(output)
    with _only_driver(name):
        study = open_study(open_storage(settings.storage), name, identity, settings.space)
        tracker = _track(settings, data, study)
        status = "KILLED"
        try:
            verdict = _search_and_confirm(study, data, settings, display, tracker)
            policy_file = _export(study, verdict, data, settings, output, tracker)
            final = (
                _final(study, data, settings, policy_file, output, display, tracker)
                if settings.final
                else None
            )
            status = "FINISHED"
        except UserError:
            status = "FAILED"
            raise
        finally:
            if tracker is not None and (problem := tracker.close(status)) is not None:
                display.line(f"MLflow did not take everything ({problem}); the same command logs it again")
            elif status == "FINISHED":
                study.set_user_attr("tracked", settings.model_dump(mode="json"))
        return Outcome(name, verdict, policy_file, final)


TRAINED_BY = (
    *("image_size", "seed", "limit", "skip_bad_images", "weights", "input_size", "final_size"),
    *("final_epochs", "patience", "batch_size", "accumulation", "learning_rate"),
    *("label_smoothing", "warm_up", "ema", "precision", "crop_scale", "processes", "device"),
)
"""What a run says of its final training beside the network and what the policy file says."""


def next_steps(settings: Settings, outcome: Outcome) -> str:
    """The commands that a person may want next, ready to paste; they do it as this run did."""
    data = f" {shlex.quote(settings.data)}" if settings.data else ""
    same_images = _flags(settings, "image_size")
    network = "" if settings.network == "medium" else f" --model {shlex.quote(settings.network)}"
    trained_by = [*TRAINED_BY]
    training = read_policy(outcome.policy_file).training
    if training.distillation or (training.semi and training.semi.asks_teacher):
        trained_by += ["teacher", "teacher_weights"]
    if training.semi:
        trained_by += ["unlabeled", "first_teacher"]
    if settings.transfer != "search":  # then the policy file says it
        trained_by += ["transfer", "backbone_lr_scale", "layer_decay"]
    lines = [
        f"policy: {outcome.policy_file}   sheet: {outcome.policy_file.with_name('preview.png')}",
        "next:",
        f"  augsearch ui{_flags(settings, 'tracking_uri')}",
        f"  augsearch export {shlex.quote(outcome.study)} -o policy.json{_flags(settings, 'storage')}",
        f"  augsearch preview policy.json{data} -o sheet.png{same_images}",
        f"  augsearch train{data} --policy policy.json{network}{_flags(settings, *trained_by)}",
    ]
    return "\n".join(lines)


def _flags(settings: Settings, *names: str) -> str:
    """The flags that set these fields, where they are not as by default."""
    shown = ""
    for name in names:
        value = getattr(settings, name)
        if value != Settings.model_fields[name].default:
            flag = f" --{name.replace('_', '-')}"
            shown += flag if value is True else f"{flag} {shlex.quote(str(value))}"
    return shown


@contextmanager
def _only_driver(study: str) -> Iterator[None]:
    """Two drivers of one study would write over each other. The lock goes when the process does."""
    folder = HOME / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{digest(study)}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"study {study!r} is being run by another process; wait for it, or use another --study"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _track(settings: Settings, data: Data, study: optuna.Study) -> Tracker | None:
    """A tracker; None where everything was tracked already and nothing new is to come."""
    if study.user_attrs.get("tracked") == settings.model_dump(mode="json"):
        return None
    description = (
        f"augsearch study **{study.study_name}**. The runs below it are its trials; "
        "baselines are trials too, tagged `baseline`."
    )
    key = study.user_attrs["key"]
    tracker = Tracker(settings.tracking_uri, data.experiment, study.study_name, key, description)
    tracker.parent(params={**settings.model_dump(mode="json"), **identity_of(settings, data)})
    return tracker


@contextmanager
def _lazy_engine(settings: Settings) -> Iterator[Any]:
    """Call what this yields to get the engine; processes start with the first call."""
    started: list[Engine] = []

    def engine() -> Engine:
        if not started:
            workers = settings.workers or default_workers(settings.device)
            started.append(LocalEngine(workers, settings.fold_timeout))
        return started[0]

    try:
        yield engine
    finally:
        for one in started:
            one.close()


def default_workers(device: str) -> int:
    """One for every core this process may use; on a GPU at most four, which share it."""
    cores = available_cores()
    return min(cores, 4) if device.startswith("cuda") else cores


def _search_and_confirm(
    study: optuna.Study, data: Data, settings: Settings, display: Display, tracker: Tracker | None
) -> Verdict:
    with _lazy_engine(settings) as engine:
        if _search_is_unfinished(study, settings):
            _search(study, engine(), data, settings, display, tracker)
        if tracker:
            tracker.trials(entries(study), _params(study))
        finalists = choose_finalists(study, settings.finalists)
        _confirm(study, engine, data, settings, finalists, display)
    verdict = judge(study, finalists, settings.confirm_folds)
    study.set_user_attr("verdict", verdict.to_json() | {"recommended": verdict.recommended})
    display.summary(verdict, entries(study))
    return verdict


def _search_is_unfinished(study: optuna.Study, settings: Settings) -> bool:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = sum(state.is_finished() for state in states)
    return ended < settings.trials or any(not state.is_finished() for state in states)


def _search(
    study: optuna.Study,
    engine: Engine,
    data: Data,
    settings: Settings,
    display: Display,
    tracker: Tracker | None,
) -> None:
    known = entries(study)
    ended = [entry for entry in known if entry.state.is_finished()]
    resumed = f", {len(ended)} done before" if known else ""
    proxy = data.workspace.proxy
    display.line(
        f"study {study.study_name}: {settings.trials} trials{resumed}, up to {settings.folds} folds "
        f"of {proxy.fold_size} images × {proxy.epochs} epochs, {engine.slots} workers"
    )
    with display.bar("searching", settings.trials * settings.folds, len(ended) * settings.folds) as bar:
        view = RaceView(display, bar, settings.folds, known)
        for event in Race(study, engine, data.workspace, settings):
            view.show(event)
            if tracker is not None:
                tracker.check()
                if isinstance(event, TrialDone):
                    tracker.trials([e for e in entries(study) if e.number == event.number], _params(study))


def _params(study: optuna.Study) -> dict[int, dict[str, Any]]:
    return {trial.number: trial.params for trial in study.get_trials(deepcopy=False)}


def _confirm(
    study: optuna.Study,
    engine: Any,
    data: Data,
    settings: Settings,
    finalists: Sequence[Entry],
    display: Display,
) -> None:
    missing = len(missing_folds(study, finalists, settings.confirm_folds))
    if not missing:
        return
    total = len(finalists) * settings.confirm_folds
    names = ", ".join(entry.name for entry in finalists)
    display.line(f"confirming on {settings.confirm_folds} fresh folds: {names}")
    with display.bar("confirming", total, total - missing) as bar:
        for entry, _, _ in confirm(study, engine(), data.workspace, finalists, settings.confirm_folds):
            bar.advance(1, entry.name)


def _export(
    study: optuna.Study,
    verdict: Verdict,
    data: Data,
    settings: Settings,
    output: Path,
    tracker: Tracker | None,
) -> Path:
    known = {entry.number: entry for entry in entries(study)}
    chosen = known[verdict.recommended]
    path = output / "policy.json"
    write_policy(policy_file_of(study, chosen, verdict.to_json()), path)
    if tracker is None and (output / "preview.png").exists():
        return path
    from augsearch.search import figures
    from augsearch.search.previews import preview_of

    made = [path, output / "preview.png", output / "history.png", output / "settings.toml"]

    preview_of(
        chosen.candidate.policy,
        data.images,
        data.splits.train,
        title=f"{chosen.name}: {describe(chosen.candidate)}",
    ).save(output / "preview.png")
    semi = chosen.candidate.semi
    if semi is not None and semi.policy is not None:
        preview_of(
            semi.policy, data.images, data.splits.train, title=f"{chosen.name}: of unlabeled images"
        ).save(output / "preview-unlabeled.png")
        made.append(output / "preview-unlabeled.png")
    figures.history(list(known.values()), output / "history.png")
    (output / "settings.toml").write_text(show_settings(settings), encoding="utf-8")
    if figures.importances(study, output / "importances.png"):
        made.append(output / "importances.png")
    distillation = chosen.candidate.distillation
    if draw_teacher(data, output / "teacher.png", distillation.temperature if distillation else None):
        made.append(output / "teacher.png")
    if tracker is not None:
        for file in made:
            tracker.artifact(file)
        best = verdict.confirmed[0]
        tracker.parent(
            metrics={
                "confirmed_accuracy": next(c.mean for c in verdict.confirmed if c.number == chosen.number)
            },
            tags={"verdict": verdict.sentence, "recommended": chosen.name, "best_confirmed": best.name},
        )
    return path


def _final(
    study: optuna.Study,
    data: Data,
    settings: Settings,
    policy_file: Path,
    output: Path,
    display: Display,
    tracker: Tracker | None,
) -> dict[str, Any]:
    key = final_key(policy_file, settings, data)
    known: dict[str, Any] | None = study.user_attrs.get("final")
    if known is not None and known["key"] == key and Path(known["model"]).exists():
        accuracy = 100 * known["figures"]["test_accuracy"]
        display.line(f"final model: test accuracy {accuracy:.1f} %, saved as {known['model']}")
        if tracker is not None:  # it may have been killed before all of it was logged
            log_final(tracker, data, known)
        return known
    by = f"augsearch run, study {study.study_name}"
    final = {"key": key, **train_and_test(data, settings, policy_file, output, display, tracker, by)}
    study.set_user_attr("final", final)
    return final
