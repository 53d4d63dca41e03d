"""What a study cost, a teacher that several share counted once."""

from __future__ import annotations

import numpy as np
import optuna

from augsearch.policies import Policy
from augsearch.search.studies.costs import FINAL, in_words, ledger, spent
from augsearch.search.studies.study import keep_confirmation
from augsearch.trainers.workspace.candidate import Candidate
from augsearch.trainers.workspace.folds import Fold, FoldResult, Stage


def result(taught: bool = False) -> FoldResult:
    """A fold's, of 2 seconds, beside a teacher of 3."""
    correct = np.ones(4, dtype=np.bool_)
    teacher = {"teacher_images": 50, "teacher_seconds": 3.0} if taught else {}
    return FoldResult(1.0, 0.1, 0.1, 2.0, 100, correct, **teacher)  # type: ignore[arg-type]


def test_the_teacher_of_a_fold_counts_once() -> None:
    alone = spent([{0: result(), 1: result()}, {0: result()}])
    assert (alone.trainings, alone.images, alone.seconds) == (3, 300, 6.0)
    # Two on fold 0 share one; fold 5 has another.
    taught = spent([{0: result(True), 5: result(True)}, {0: result(True)}, {0: result()}])
    assert (taught.trainings, taught.images, taught.seconds) == (4 + 2, 400 + 2 * 50, 8.0 + 2 * 3.0)
    assert spent([]) == spent([{}])


def test_search_confirmation_and_final_training_have_teachers_of_their_own() -> None:
    study = optuna.create_study()
    study.enqueue_trial({})
    trial = study.ask()
    trial.set_user_attr("candidate", Candidate(policy=Policy(num_ops=0)).model_dump(mode="json"))
    trial.set_user_attr("fold 0", result(True).to_json())
    study.tell(trial, 1.0)
    for index in (0, 1):
        keep_confirmation(study, trial.number, Fold(Stage.CONFIRMATION, index), result(True))
    figures = {"final_images": 1000, "final_teacher_images": 900, "final_seconds": 60.0}
    study.set_user_attr("final", {"figures": figures})
    found = ledger(study)
    assert {name: (one.trainings, one.images, one.seconds) for name, one in found.items()} == {
        "search": (2, 150, 5.0),
        "confirmation": (4, 300, 10.0),
        FINAL: (2, 1900, 60.0),
    }
    assert "confirmation 4 trainings, 300 images, 10 s" in in_words(found)


def test_short_trainings_of_the_final_network_are_counted() -> None:
    study = optuna.create_study()
    for name in ("final check aa", "final check bb", "refinement cc"):
        study.set_user_attr(name, result(True).to_json())
    study.set_user_attr("refinement", {"adopted": False})
    found = ledger(study)
    assert {name: (one.trainings, one.images) for name, one in found.items() if one.trainings} == {
        "comparison on the final network": (3, 250),  # both have one teacher
        "refinement": (2, 150),
    }
    assert in_words(ledger(optuna.create_study())) == "cost (time of one worker): nothing yet"
