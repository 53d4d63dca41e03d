"""What a study knows, read with Optuna alone: trials, folds, confirmation, verdict.

    python examples/read_a_study.py demo

A study is an Optuna study, so everything that reads those reads it: `optuna.visualization.matplotlib`,
optuna-dashboard, and with plotly `optuna.visualization`.
What Optuna has no place for stands in attributes of its trials ("candidate", "baseline", "fold 0", …) and of
the study ("verdict", "confirmation TRIAL FOLD", "final", "settings").
"""

from __future__ import annotations

import argparse
from statistics import fmean

import optuna


def main() -> None:
    """Print it: a line for each trial, then what was confirmed, then the final model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--storage", default="sqlite:///mlruns/studies.db")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=asked.study, storage=asked.storage)

    print(f"study {study.study_name}: {len(study.trials)} trials")
    for trial in study.trials:
        known = trial.user_attrs
        folds = [known[key]["accuracy"] for key in sorted(known) if key.startswith("fold ")]
        drawn = f"N={trial.params.get('num_ops')} M={trial.params.get('magnitude', '-')}"
        name = known.get("baseline", drawn)
        accuracy = f"{100 * fmean(folds):5.1f} %" if folds else "    - "
        print(f"{trial.number:3}  {trial.state.name:8}  {accuracy} in {len(folds)} folds  {name}")

    # The document that augsearch export writes is built from the trial's "candidate".
    if study.best_trials:
        policy = study.best_trial.user_attrs["candidate"]["policy"]
        print(f"best in the search: trial {study.best_trial.number}, {policy['num_ops']} operations an image")

    verdict = study.user_attrs.get("verdict")
    if verdict is None:
        print("no verdict yet; the command that began the study goes on with it")
        return
    print(verdict["verdict"])
    for row in verdict["confirmation"]:
        chosen = "→" if row["number"] == verdict["recommended"] else " "
        print(f"  {chosen} {row['name']}: {100 * row['accuracy']:.1f} % over {row['n']} fresh folds")
    final = study.user_attrs.get("final")
    if final is not None:
        print(f"final model: {final['model']}, test accuracy {100 * final['figures']['test_accuracy']:.1f} %")


if __name__ == "__main__":
    main()
