"""What a search found, for a person at a prompt: figures, tables, the policy, the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import optuna

from augsearch.policies import Policy, PolicyFile, UserError, read_policy, write_policy
from augsearch.search.api.frames import confirmation_frame, trials_frame
from augsearch.search.api.pictures import result_in_html
from augsearch.search.report import charts
from augsearch.search.report.facts import Facts, folder_of, gather
from augsearch.search.report.page import write_report
from augsearch.search.report.sentences import headline, margin_of
from augsearch.search.statistics.verdict import Verdict
from augsearch.search.studies.controls import by_number
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.refinement import refined
from augsearch.search.studies.study import check_own

if TYPE_CHECKING:  # torch is imported when a model is asked for
    from augsearch.search.report.svg import Chart
    from augsearch.trainers.evaluation.classifier import Classifier


class Result:
    """A study, read anew whenever something is asked of it: one that still runs tells more each time."""

    def __init__(self, study: optuna.Study) -> None:
        """Raises ``UserError`` where another program made the study."""
        check_own(study)
        self.study = study
        """Optuna's own, for ``optuna.visualization.matplotlib``; with plotly ``optuna.visualization`` too."""

    @property
    def name(self) -> str:
        """The study's name: what ``load`` and the commands take."""
        return self.study.study_name

    @property
    def facts(self) -> Facts:
        """All that the report shows."""
        return gather(self.study)

    @property
    def folder(self) -> Path:
        """Where the run left its files: ``policy.json``, ``report.html``, pictures, the model."""
        return folder_of(self.study)

    @property
    def verdict(self) -> Verdict:
        """What the confirmation found; ``print`` it for the sentence.

        Raises:
            UserError: the study is not confirmed yet.
        """
        return Verdict.from_json(self._document(), self.facts.metric)

    @property
    def policy(self) -> Policy:
        """The policy that the verdict recommends.

        Raises:
            UserError: the study is not confirmed yet.
        """
        return self.policy_file.policy

    @property
    def policy_file(self) -> PolicyFile:
        """The same with what it says of the training, where it comes from and the evidence.

        Raises:
            UserError: the study is not confirmed yet.
        """
        document = self._document()
        chosen = refined(self.study, by_number(self.study)[document["recommended"]])
        written = self.folder / "policy.json"
        if written.is_file():
            file = read_policy(written)
            if file.provenance.get("study") == self.name and file.policy == chosen.candidate.policy:
                return file
        return policy_file_of(self.study, chosen, document)

    @property
    def trials(self) -> Any:
        """A ``pandas.DataFrame``: a line for every trial; see ``frames.trials_frame``."""
        return trials_frame(self.study)

    @property
    def confirmation(self) -> Any:
        """A ``pandas.DataFrame``: a line for every fold of every finalist; ``frames.confirmation_frame``."""
        return confirmation_frame(self.study)

    @property
    def final(self) -> dict[str, float]:
        """The final model's figures, such as ``test_accuracy``.

        Raises:
            UserError: there is none.
        """
        return dict(self._final()["figures"])

    @property
    def model(self) -> Classifier:
        """The final model, which predicts from paths, bytes and arrays.

        Raises:
            UserError: there is none, or its file is gone.
        """
        from augsearch.trainers.evaluation.classifier import Classifier

        return Classifier.load(self._final()["model"])

    def plot_race(self) -> Chart:
        """Every trial: the scores of its folds, their mean, and where it was stopped."""
        return self._drawn("race", "no fold was run yet")

    def plot_history(self) -> Chart:
        """The trials in their order, and the best so far."""
        return self._drawn("history", "no fold was run yet")

    def plot_importances(self) -> Chart:
        """How much each choice mattered."""
        return self._drawn("importances", "too few trials have finished to say which choices mattered")

    def plot_confirmation(self) -> Chart:
        """The best candidate's lead over every baseline, with its interval."""
        otherwise = "nothing is confirmed yet"
        if "verdict" in self.study.user_attrs:
            otherwise = "no candidate was confirmed beside the baselines"
        return self._drawn("leads", otherwise)

    def plot_calibration(self) -> Chart:
        """Log-loss and calibration of whatever was confirmed."""
        return self._drawn("calibration", "nothing is confirmed yet")

    def preview(self) -> Any:
        """A ``PIL.Image``: what the recommended policy does to training images.

        Raises:
            UserError: the run has not drawn it yet.
        """
        from PIL import Image

        path = self.folder / "preview.png"
        if not path.is_file():
            raise UserError(f"{path}: not there; augsearch preview draws a policy on any images")
        with Image.open(path) as picture:
            return picture.copy()

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the page about the study to ``path``; returns it.

        Raises:
            UserError: it can't be written there.
        """
        write_report(self.study, Path(path))
        return Path(path)

    def save_policy(self, path: str | Path = "policy.json") -> Path:
        """Write the policy file to ``path``; returns it.

        Raises:
            UserError: the study is not confirmed yet, or it can't be written there.
        """
        write_policy(self.policy_file, Path(path))
        return Path(path)

    def __repr__(self) -> str:
        return f"<Result of study {self.name!r}: {headline(self.facts).sentence}>"

    def _repr_html_(self) -> str:
        return result_in_html(self.facts)

    def _document(self) -> dict[str, Any]:
        found = self.study.user_attrs.get("verdict")
        if found is None:
            raise UserError(
                f"study {self.name!r} is not confirmed yet; the call or command that began it goes on"
            )
        return cast(dict[str, Any], found)

    def _final(self) -> dict[str, Any]:
        found = self.study.user_attrs.get("final")
        if found is None:
            raise UserError(
                f"study {self.name!r} has no final model; run it on without final=False, or augsearch train"
            )
        return cast(dict[str, Any], found)

    def _drawn(self, name: str, otherwise: str) -> Chart:
        facts = self.facts
        found = charts.charts_of(facts, margin_of(facts)).get(name)
        if found is None:
            raise UserError(f"study {self.name!r}: {otherwise}")
        return found
