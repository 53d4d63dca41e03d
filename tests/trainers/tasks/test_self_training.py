"""Self-training in rounds: who labels for whom, what is kept, and that a kill costs an epoch at most."""

from __future__ import annotations

import dataclasses
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from augsearch.policies import Mixing, Policy, PolicyFile, Training, Transfer, UserError
from augsearch.trainers.data.dataset import Progress
from augsearch.trainers.data.unlabeled.dataset import Unlabeled
from augsearch.trainers.data.views import Decoded
from augsearch.trainers.evaluation import inference
from augsearch.trainers.evaluation.inference import predict
from augsearch.trainers.evaluation.metrics import METRICS, Scores, score
from augsearch.trainers.models.saved import load_model
from augsearch.trainers.semi import labeling
from augsearch.trainers.semi.fixmatch import FixMatch
from augsearch.trainers.semi.labeler import Labeling
from augsearch.trainers.semi.predictions import Predictions
from augsearch.trainers.semi.self_training import SelfTraining
from augsearch.trainers.tasks.final import FinalEpoch, FinalModel, train_final
from augsearch.trainers.tasks.final_job import FinalJob, FinalPlan, final_training_part
from augsearch.trainers.tasks.self_training import RoundDone, train_students
from augsearch.trainers.training.recipe import Recipe
from augsearch.trainers.workspace.folder import Workspace
from tests.finished import finish
from tests.trainers.choice import chosen_of

if TYPE_CHECKING:
    from tests.trainers.conftest import Source

CPU = torch.device("cpu")
POLICY = Policy(num_ops=1, magnitude=5, crop=0.5, mixing=Mixing(kind="cutmix"))
Event = FinalEpoch | Labeling | RoundDone


@pytest.fixture(scope="module")
def study(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return source.study(tmp_path_factory.mktemp("study"))


def unlabeled(count: int = 100, seed: int = 7) -> Unlabeled:
    """Images like the source's, of which every fifth must not be learned from."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(5, size=count)
    colours = np.array([[130, 60, 60], [60, 130, 60], [60, 60, 130], [120, 110, 40], [90, 90, 90]])
    images = (colours[truth][:, None, None] + rng.normal(20, 45, (count, 8, 8, 3))).clip(0, 255)
    chosen = np.flatnonzero(np.arange(count) % 5 != seed % 5)
    names = [str(row) for row in range(count)]
    return Unlabeled(
        "more", Decoded(images.astype(np.uint8)), chosen, truth, 0, count, f"{seed}", names, None, None
    )


def file_of(**fields: Any) -> PolicyFile:
    # Of five classes the likeliest has a fifth at least: whatever a teacher says is learned from.
    semi = SelfTraining(**{"threshold": 0.2, "rounds": 2, **fields})
    return PolicyFile(policy=POLICY, training=Training(semi=semi))


def plan_of(epochs: int = 3, **fields: Any) -> FinalPlan:
    recipe = {"epochs": epochs, "ema": fields.pop("ema", None)}
    return FinalPlan(model=fields.pop("model", "tiny"), recipe=Recipe(**recipe), **fields)


def start(
    workspace: Workspace,
    source: Source,
    path: Path,
    file: PolicyFile | None = None,
    plan: FinalPlan | None = None,
    more: Unlabeled | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Generator[Event, None, FinalModel]:
    return train_students(
        FinalJob(
            workspace.folder,
            file or file_of(),
            plan or plan_of(),
            Decoded(workspace.data.images),
            final_training_part(source.splits, None),
            path,
            card={"policy_file": "policy.json"},
            unlabeled=more or unlabeled(),
            **options,
        ),
        progress,
    )


def ends(events: list[Event]) -> list[RoundDone]:
    return [event for event in events if isinstance(event, RoundDone)]


def labelings(events: list[Event]) -> list[Labeling]:
    return [event for event in events if isinstance(event, Labeling)]


def epochs(events: list[Event]) -> list[FinalEpoch]:
    return [event for event in events if isinstance(event, FinalEpoch)]


def said(of: Labeling) -> tuple[object, ...]:
    """All but the time it took."""
    arrays = of.labels, of.confidence, of.chosen, of.by_class, of.gained
    return (of.number, of.after, of.changed, of.accuracy, *(array.tolist() for array in arrays))


def told(of: RoundDone) -> tuple[object, ...]:
    labeling = None if of.labeling is None else said(of.labeling)
    figures = dataclasses.replace(of, seconds=0, labeling=None, validation=None)  # type: ignore[arg-type]
    rest = [getattr(figures, field.name) for field in dataclasses.fields(figures)]
    return (*rest, labeling, of.validation.log_loss, of.validation.correct.tolist())


def outcome(events: list[Event], final: FinalModel) -> tuple[object, ...]:
    """All that it leaves but its times."""
    figures = {
        field.name: getattr(final, field.name)
        for field in dataclasses.fields(final)
        if field.name not in ("path", "seconds", "validation", "labelings")
    }
    card = json.loads(final.path.with_suffix(".json").read_text("utf-8"))
    validation = final.validation.log_loss, final.validation.correct.tolist()
    rounds = [told(end) for end in ends(events)]
    return figures, validation, [said(one) for one in final.labelings], rounds, card, final.path.read_bytes()


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def scored(path: Path, workspace: Workspace, part: npt.NDArray[np.int64]) -> Scores:
    model, _ = load_model(path)
    return score(predict(model, workspace.data.images[part], CPU), workspace.data.labels[part])


STUDIES: dict[str, tuple[PolicyFile, FinalPlan]] = {
    "two students": (file_of(), plan_of()),
    "an average of the weights, soft labels": (file_of(labels="soft", class_cap=1.0), plan_of(2, ema=0.8)),
    "until a round gets no better": (file_of(), plan_of(4, patience=1)),
    "a smaller teacher": (file_of(threshold=0.4), plan_of(2, model="small", first_teacher="tiny")),
}


@pytest.fixture(scope="module")
def whole(
    study: Workspace, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Event], FinalModel]:
    return finish(start(study, source, tmp_path_factory.mktemp("whole") / "model.safetensors"))


def test_rounds_are_told_as_they_go(whole: tuple[list[Event], FinalModel], source: Source) -> None:
    events, final = whole
    rounds = len(ends(events))
    assert rounds >= 2
    kinds = [type(event) for event in events]
    first = [FinalEpoch] * 3 + [RoundDone]
    assert kinds == first + [Labeling, *first] * (rounds - 1)
    assert [event.round for event in epochs(events)] == [number for number in range(rounds) for _ in range(3)]
    assert [end.round for end in ends(events)] == list(range(rounds))
    assert [one.number for one in labelings(events)] == list(range(1, rounds))
    assert [end.labeling for end in ends(events)] == [None, *labelings(events)]
    assert final.labelings == tuple(labelings(events))
    for end in ends(events):
        own = [event for event in epochs(events) if event.round == end.round]
        best = chosen_of(own)
        assert end.best_epoch == best.training.epoch
        assert end.validation.log_loss == best.validation.log_loss
        assert end.images == sum(epoch.training.images for epoch in own)
        assert end.unlabeled == sum(epoch.training.unlabeled for epoch in own)
        assert (end.unlabeled > 0) == (end.round > 0)
        assert end.network == "tiny"
        assert 0 < end.seconds < final.seconds
    assert final.images == sum(end.images for end in ends(events))
    assert final.unlabeled == sum(end.unlabeled for end in ends(events))
    assert final.trained_on == 195


def test_nothing_is_left_but_the_best_model_and_its_card(
    whole: tuple[list[Event], FinalModel], study: Workspace, source: Source
) -> None:
    events, final = whole
    assert names(final.path) == ["model.json", "model.safetensors"]
    best = max(ends(events), key=lambda end: (end.validation.accuracy, -end.validation.log_loss))
    assert final.round == best.round
    assert final.best_epoch == best.best_epoch
    kept = scored(final.path, study, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist() == final.validation.correct.tolist()
    assert kept.log_loss == pytest.approx(best.validation.log_loss, rel=1e-6)


def test_a_student_that_is_best_is_kept_and_its_card_says_what_it_learned_from(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    # A network with more parameters than its teacher does better.
    events, final = finish(
        start(study, source, tmp_path / "model.safetensors", *STUDIES["a smaller teacher"])
    )
    best = ends(events)[final.round]
    assert final.round > 0
    assert best.best
    card = json.loads(final.path.with_suffix(".json").read_text("utf-8"))
    assert card["policy_file"] == "policy.json"
    assert card["model"]["name"] == final.spec.name == best.network == "small"
    assert best.labeling is not None
    assert card["training"] == {
        "best_epoch": best.best_epoch,
        "epochs": 2,
        "trained_on": 195,
        "validation_accuracy": best.validation.accuracy,
        "unlabeled": {
            "technique": "self-training",
            "images": 80,
            "chosen": len(best.labeling.chosen),
            "round": final.round,
        },
    }
    kept = scored(final.path, study, source.splits.confirmation)
    assert kept.correct.tolist() == best.validation.correct.tolist()


@pytest.mark.parametrize(
    "plan",
    [plan_of(3), plan_of(2, ema=0.8), plan_of(2, metric="log-loss"), plan_of(2, metric="macro-f1")],
    ids=["at once", "later", "by log-loss", "by macro-F1"],
)
def test_it_stops_with_the_first_round_that_is_no_better_than_the_best(
    study: Workspace, source: Source, tmp_path: Path, plan: FinalPlan
) -> None:
    events, final = finish(start(study, source, tmp_path / "model.safetensors", file_of(rounds=6), plan))
    score = METRICS[plan.metric].score
    figures = [(score(end.validation), -end.validation.log_loss) for end in ends(events)]
    better = [all(figure > before for before in figures[:number]) for number, figure in enumerate(figures)]
    assert [end.best for end in ends(events)] == better
    assert better[:-1] == [True] * (len(better) - 1)
    assert len(better) == 7 or not better[-1]
    assert final.round == len(better) - 1 - (not better[-1])


def test_it_has_no_more_students_than_it_may(study: Workspace, source: Source, tmp_path: Path) -> None:
    file = file_of(rounds=1)
    events, _ = finish(start(study, source, tmp_path / "model.safetensors", file, plan_of(1)))
    assert [end.round for end in ends(events)] == [0, 1]


def test_the_first_teacher_learns_from_the_labels_alone(
    whole: tuple[list[Event], FinalModel], study: Workspace, source: Source, tmp_path: Path
) -> None:
    pixels, labeled = Decoded(study.data.images), final_training_part(source.splits, None)
    path = tmp_path / "model.safetensors"
    alone = list(
        train_final(FinalJob(study.folder, PolicyFile(policy=POLICY), plan_of(), pixels, labeled, path))
    )
    first = [event for event in epochs(whole[0]) if event.round == 0]
    assert [one.training.loss for one in first] == [one.training.loss for one in alone]
    assert [one.validation.log_loss for one in first] == [one.validation.log_loss for one in alone]


def test_a_student_starts_anew_and_each_from_weights_of_its_own(
    whole: tuple[list[Event], FinalModel], study: Workspace, source: Source, tmp_path: Path
) -> None:
    # Where nothing is learned, rounds differ by their weights alone.
    plan = FinalPlan(model="tiny", recipe=Recipe(epochs=1, learning_rate=1e-12))
    seen: list[dict[str, torch.Tensor]] = []
    path = tmp_path / "model.safetensors"
    file = file_of(threshold=0.0, rounds=2, dropout=0, stochastic_depth=0)
    for event in start(study, source, path, file, plan):
        if isinstance(event, RoundDone):
            seen.append(load_file(path.with_name(f".model.round-{event.round}.safetensors")))
    stems = [state["1.weight"] for state in seen]
    assert len(stems) >= 2
    assert not any(torch.equal(stems[0], other) for other in stems[1:])


def test_the_last_round_labels_the_clean_images_in_evaluation_mode(
    study: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, path = unlabeled(), tmp_path / "model.safetensors"
    looked: list[npt.NDArray[np.uint8]] = []
    modes: list[bool] = []
    teachers: list[dict[str, torch.Tensor]] = []

    def spied(model: nn.Module, images: npt.NDArray[np.uint8], *rest: Any) -> npt.NDArray[np.float32]:
        looked.append(images.copy())
        teachers.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        hooks = [
            module.register_forward_pre_hook(lambda module, _: modes.append(module.training))
            for module in model.modules()
        ]
        logits = predict(model, images, *rest)
        for hook in hooks:
            hook.remove()
        return logits

    monkeypatch.setattr(inference, "predict", spied)
    # Its first student is better than its teacher by far, so that there is a second.
    file, plan = STUDIES["a smaller teacher"]
    assert isinstance(file.training.semi, SelfTraining)
    threshold = file.training.semi.threshold
    rounds = 0
    for event in start(study, source, path, file, plan, more=more):
        if isinstance(event, Labeling):
            assert isinstance(more.pixels, Decoded)
            assert np.array_equal(np.concatenate(looked), more.pixels.images[more.chosen])
            before = load_file(path.with_name(f".model.round-{event.number - 1}.safetensors"))
            assert all(torch.equal(tensor, before[name]) for name, tensor in teachers[-1].items())
            model, _ = load_model(path.with_name(f".model.round-{event.number - 1}.safetensors"))
            guesses = Predictions.from_logits(predict(model, more.pixels.images[more.chosen], CPU))
            assert event.labels.tolist() == guesses.hard.tolist()
            assert event.chosen.tolist() == np.flatnonzero(guesses.confidence >= threshold).tolist()
            looked.clear()
            rounds += 1
    assert rounds == 2
    assert modes
    assert not any(modes)


def test_the_noise_is_obeyed_and_not_saved(study: Workspace, source: Source, tmp_path: Path) -> None:
    def second(**noise: float) -> float:
        for event in start(study, source, tmp_path / "model.safetensors", file_of(**noise), plan_of(1)):
            if isinstance(event, FinalEpoch) and event.round == 1:
                kept = load_file(tmp_path / ".model.round-1.safetensors")
                assert sorted(kept) == sorted(load_file(tmp_path / ".model.round-0.safetensors"))
                return event.training.loss
        raise AssertionError

    quiet = second(dropout=0, stochastic_depth=0)
    losses = [quiet, second(dropout=0.5, stochastic_depth=0), second(dropout=0, stochastic_depth=0.5)]
    assert len(set(losses)) == 3
    assert second(dropout=0, stochastic_depth=0) == quiet


@pytest.mark.parametrize("name", STUDIES)
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(
    study: Workspace, source: Source, tmp_path: Path, name: str
) -> None:
    file, plan = STUDIES[name]
    whole = finish(start(study, source, tmp_path / "whole" / "model.safetensors", file, plan))
    assert len(ends(whole[0])) >= 2
    # Everywhere in one of them; in the others after each kind of event.
    for stop in range(1, len(whole[0]) + 1, 1 if name == "two students" else 3):
        path = tmp_path / str(stop) / "model.safetensors"
        training = start(study, source, path, file, plan)
        before = [next(training) for _ in range(stop)]
        training.close()
        rest, final = finish(start(study, source, path, file, plan))
        # No epoch is trained twice.
        assert len(epochs(before)) + len(epochs(rest)) == len(epochs(whole[0]))
        assert outcome(rest, final) == outcome(*whole)
        assert [said(one) for one in labelings(rest)] == [said(one) for one in labelings(whole[0])]
        assert names(path) == ["model.json", "model.safetensors"]


class Killed(BaseException):
    """As a signal would."""


def test_stopped_within_a_labeling_it_asks_about_the_others_alone(
    study: Workspace, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeling, "CHUNK", 16)
    whole = finish(start(study, source, tmp_path / "whole" / "model.safetensors"))
    chunks = len(labelings(whole[0])) * 5
    for stop in range(chunks):
        asked = 0

        def until_killed(*arguments: Any, stop: int = stop) -> npt.NDArray[np.float32]:
            nonlocal asked
            if asked == stop:
                raise Killed
            asked += 1
            return predict(*arguments)

        path = tmp_path / str(stop) / "model.safetensors"
        monkeypatch.setattr(inference, "predict", until_killed)
        with pytest.raises(Killed):
            finish(start(study, source, path))
        again = 0

        def counted(*arguments: Any) -> npt.NDArray[np.float32]:
            nonlocal again
            again += 1
            return predict(*arguments)

        monkeypatch.setattr(inference, "predict", counted)
        events, final = finish(start(study, source, path))
        assert again == chunks - stop
        assert outcome(events, final) == outcome(*whole)


KILLED = """
import pickle, sys
import torch
from augsearch.trainers.tasks.final import FinalEpoch
from augsearch.trainers.tasks.self_training import train_students
torch.set_num_threads(1)
job = pickle.load(open(sys.argv[1], "rb"))
for event in train_students(job):
    if isinstance(event, FinalEpoch):
        print(event.round, event.training.epoch, flush=True)
        if (event.round, event.training.epoch) == (1, 8):
            sys.stdin.read()  # for the kill, if it comes late
"""


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "parts" / "model.safetensors"
    pixels, labeled = Decoded(np.array(study.data.images)), final_training_part(source.splits, None)
    plan = plan_of(8, ema=0.9)
    job = FinalJob(study.folder, file_of(), plan, pixels, labeled, path, unlabeled=unlabeled())
    (tmp_path / "arguments").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "arguments")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "1 2\n" in iter(process.stdout.readline, "")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    load_model(path)
    events, final = finish(train_students(job))
    assert all(epoch.round >= 1 for epoch in epochs(events))
    job = dataclasses.replace(job, path=tmp_path / "whole" / "model.safetensors")
    assert outcome(events, final) == outcome(*finish(train_students(job)))


def test_the_best_model_so_far_lies_there_from_the_first_epoch_on(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    rounds: dict[int, list[FinalEpoch]] = {}
    for event in start(study, source, path):
        if isinstance(event, FinalEpoch):
            rounds.setdefault(event.round, []).append(event)
        chosen = [chosen_of(own).validation for own in rounds.values()]
        best = max(chosen, key=lambda one: (one.accuracy, -one.log_loss))
        kept = scored(path, study, source.splits.confirmation)
        assert kept.correct.tolist() == best.correct.tolist()
        assert kept.log_loss == pytest.approx(best.log_loss, rel=1e-6)


@pytest.mark.parametrize("changed", ["images", "threshold", "noise"])
def test_students_of_another_study_begin_anew_but_the_first_teacher_is_the_same(
    study: Workspace, source: Source, tmp_path: Path, changed: str
) -> None:
    other: dict[str, Any] = {
        "images": {"more": unlabeled(seed=8)},
        "threshold": {"file": file_of(threshold=0.6)},
        "noise": {"file": file_of(dropout=0.4)},
    }[changed]
    fresh = finish(start(study, source, tmp_path / "fresh" / "model.safetensors", **other))
    path = tmp_path / "parts" / "model.safetensors"
    training = start(study, source, path)
    for event in training:
        if isinstance(event, FinalEpoch) and (event.round, event.training.epoch) == (1, 2):
            break
    training.close()
    events, final = finish(start(study, source, path, **other))
    assert (epochs(events)[0].round, epochs(events)[0].training.epoch) == (1, 1)
    assert outcome(events, final) == outcome(*fresh)


def test_students_of_another_teacher_begin_anew(study: Workspace, source: Source, tmp_path: Path) -> None:
    other = plan_of(model="small", first_teacher="tiny")
    fresh = finish(start(study, source, tmp_path / "fresh" / "model.safetensors", plan=other))
    path = tmp_path / "parts" / "model.safetensors"
    training = start(study, source, path, plan=plan_of(model="small"))
    for event in training:
        if isinstance(event, FinalEpoch) and event.round == 1:
            break
    training.close()
    events, final = finish(start(study, source, path, plan=other))
    assert (epochs(events)[0].round, epochs(events)[0].training.epoch) == (0, 1)
    assert outcome(events, final) == outcome(*fresh)


def test_the_seed_decides_the_model_to_the_last_bit_and_the_truth_does_not(
    whole: tuple[list[Event], FinalModel], study: Workspace, source: Source, tmp_path: Path
) -> None:
    again = finish(start(study, source, tmp_path / "again" / "model.safetensors"))
    assert outcome(*again) == outcome(*whole)
    more = unlabeled()
    blind = dataclasses.replace(more, truth=np.full_like(more.truth, -1))
    events, final = finish(start(study, source, tmp_path / "blind" / "model.safetensors", more=blind))
    assert final.path.read_bytes() == whole[1].path.read_bytes()
    assert all(one.accuracy is None for one in labelings(events))


def test_without_unlabeled_images_it_is_the_plain_training(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    pixels = Decoded(study.data.images)
    none = dataclasses.replace(unlabeled(), chosen=np.empty(0, np.int64))
    for name, more in (("none", None), ("empty", none)):
        path = tmp_path / name / "model.safetensors"
        finish(
            train_students(
                FinalJob(
                    study.folder,
                    file_of(),
                    plan_of(),
                    pixels,
                    final_training_part(source.splits, None),
                    path,
                    unlabeled=more,
                )
            )
        )
        assert names(path) == ["model.json", "model.safetensors"]
    path = tmp_path / "plain.safetensors"
    plain = train_final(
        FinalJob(
            study.folder,
            PolicyFile(policy=POLICY),
            plan_of(),
            pixels,
            final_training_part(source.splits, None),
            path,
        )
    )
    list(plain)
    for name in ("none", "empty"):
        assert (tmp_path / name / "model.safetensors").read_bytes() == path.read_bytes()


def test_a_student_is_no_smaller_than_the_first_teacher(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    sizes = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in ((name, _network(study, name)) for name in ("tiny", "small"))
    }
    refused = start(study, source, path, plan=plan_of(model="tiny", first_teacher="small"))
    with pytest.raises(UserError) as error:
        next(refused)
    assert str(error.value) == (
        f"the first teacher small has {sizes['small']:,} parameters, its student tiny only "
        f"{sizes['tiny']:,}; give a --final-model that is no smaller, or another --first-teacher"
    )
    assert list(tmp_path.iterdir()) == []
    events, final = finish(start(study, source, path, plan=plan_of(2, model="small", first_teacher="tiny")))
    assert [end.network for end in ends(events)][:2] == ["tiny", "small"]
    assert final.spec.name == ("tiny" if final.round == 0 else "small")


def _network(workspace: Workspace, name: str) -> nn.Module:
    from augsearch.trainers.models.build import build_model
    from augsearch.trainers.tasks.inputs import spec_for

    return build_model(spec_for(workspace, name), 0)


def test_a_first_teacher_without_weights_has_nothing_to_transfer(
    study: Workspace, source: Source, tmp_path: Path
) -> None:
    # A last layer alone, on a backbone that knows nothing, would learn little.
    pretrained = tmp_path / "pretrained.safetensors"
    pixels, labeled = Decoded(study.data.images), final_training_part(source.splits, None)
    plain, first = PolicyFile(policy=POLICY), plan_of(6, model="small")
    list(train_final(FinalJob(study.folder, plain, first, pixels, labeled, pretrained)))
    file = file_of()
    training = file.training.model_copy(update={"transfer": Transfer(mode="head")})
    plan = plan_of(2, model="small", first_teacher="tiny", weights=str(pretrained))
    path = tmp_path / "model.safetensors"
    events = start(study, source, path, file.model_copy(update={"training": training}), plan)
    loaded: dict[int, bool] = {}
    rates: dict[int, int] = {}
    for event in events:
        if isinstance(event, FinalEpoch):
            loaded[event.round] = event.loaded is not None
            rates[event.round] = len(event.training.rates)
    assert (loaded[0], loaded[1]) == (False, True)
    assert rates[0] > rates[1] == 1


def test_several_processes_are_refused(study: Workspace, source: Source, tmp_path: Path) -> None:
    refused = start(study, source, tmp_path / "model.safetensors", plan=plan_of(processes=4))
    with pytest.raises(UserError, match="--processes 4: learning from unlabeled images runs in one process"):
        next(refused)


def test_other_techniques_are_trained_elsewhere(study: Workspace, source: Source, tmp_path: Path) -> None:
    file = PolicyFile(policy=POLICY, training=Training(semi=FixMatch()))
    with pytest.raises(ValueError, match="fixmatch is done by train_final"):
        next(start(study, source, tmp_path / "model.safetensors", file))


def test_files_of_models_beside_it_are_left_alone(study: Workspace, source: Source, tmp_path: Path) -> None:
    others = [".other.model.round-0.json", "model.round-1.json", ".model.rounds", ".model.round-a"]
    for name in others:
        (tmp_path / name).write_text("mine")
    half_written = tmp_path / "..model.round-0.safetensors.part"
    half_written.write_text("")
    finish(start(study, source, tmp_path / "model.safetensors", plan=plan_of(1)))
    assert names(tmp_path / "model.safetensors") == sorted([*others, "model.json", "model.safetensors"])


def test_it_is_said_how_far_a_labeling_is(study: Workspace, source: Source, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    finish(
        start(study, source, tmp_path / "model.safetensors", file_of(rounds=1), plan_of(1),
              progress=lambda done, of: seen.append((done, of)))
    )  # fmt: skip
    assert seen == [(80, 80)]
