"""What a report says in sentences: the verdict for a hurried reader, what is missing, what to type next."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from optuna.trial import TrialState

from augsearch.policies import Training
from augsearch.search import command_lines as commands
from augsearch.search.report.facts import Facts, Row, difference_of
from augsearch.search.settings.settings import Settings
from augsearch.search.space.describe import describe, explain
from augsearch.search.statistics.paired import Difference
from augsearch.search.statistics.verdict import called, parts_in_words
from augsearch.trainers.evaluation.metrics import Metric
from augsearch.trainers.workspace.candidate import Candidate

Tone = Literal["good", "fair", "open"]


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and what it is for."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The first screen."""

    badge: str
    tone: Tone
    sentence: str
    use: tuple[str, str]
    """The policy's name, and what it does."""
    how_much: tuple[str, ...]
    how_sure: tuple[str, ...]
    next_steps: tuple[Step, ...]


_BADGES: dict[str, tuple[str, Tone]] = {
    "better": ("✔ Better than every baseline", "good"),
    "as good": ("= A baseline is as good", "fair"),
    "undecided": ("? Undecided", "open"),
}


def headline(facts: Facts) -> Headline:
    """The verdict in short, or how far the study is."""
    if facts.verdict is None or facts.chosen is None:
        return _without_verdict(facts)
    chosen = facts.chosen
    # Verdicts of old don't name their kind, and knew but two.
    kind = facts.verdict.get("kind") or ("undecided" if chosen.entry.baseline else "better")
    badge, tone = _BADGES[kind]
    return Headline(
        badge,
        tone,
        facts.verdict["verdict"],
        (called(chosen.entry.name), explain(_used(facts, chosen.entry.candidate))),
        tuple(_how_much(facts)),
        tuple(_how_sure(facts, kind)),
        tuple(_next_steps(facts)),
    )


def _used(facts: Facts, candidate: Candidate) -> Candidate:
    """``candidate`` with the N and M that the policy file says."""
    if facts.refinement is None:
        return candidate
    return candidate.model_copy(update={"policy": facts.refinement.policy(candidate.policy)})


def _without_verdict(facts: Facts) -> Headline:
    best = facts.rows[0] if facts.rows else None
    planned = f" of {facts.trials}" if facts.trials else ""
    if facts.unfinished:
        badge = "… Still searching"
        sentence = f"Nothing is decided yet: {facts.ended}{planned} trials have ended."
    else:
        badge = "… Not confirmed yet"
        sentence = (
            "The search is done; its best have not been compared with the baselines on fresh folds yet."
        )
    lead: tuple[str, ...] = ("Nothing is known yet.",)
    use = ("Nothing yet", "no trial has run a fold")
    if best is not None:
        use = (f"{called(best.entry.name, begins=True)} leads so far", explain(best.entry.candidate))
        lead = (f"{facts.metric.shown(best.entry.score)} on average over {_folds(len(best.entry.results))}.",)
    unsure = "Whoever leads a search leads in part by luck. The confirmation finds out how much."
    return Headline(badge, "open", sentence, use, lead, (unsure,), tuple(_next_steps(facts)))


def _how_much(facts: Facts) -> list[str]:
    verdict, chosen, closest = facts.verdict or {}, facts.chosen, _over_the_best_baseline(facts)
    which = "best"
    if verdict.get("kind") == "better":
        # As the verdict says it: who had fewer folds may have the lower mean and still be closer on those.
        closest, which = min(facts.leads, key=lambda lead: lead.mean), "closest"
    parts = []
    if closest is not None:
        # Where a baseline is recommended, the reader asks what became of the search.
        of_search = "the best searched policy, " if chosen and chosen.entry.baseline else ""
        who = f"{of_search}{closest.better}"
        words = lead_in_words(facts.metric, closest)
        parts.append(f"{who}: {words} over {called(closest.worse)}, the {which} baseline.")
    gain = verdict.get("gain")
    if gain is not None and (
        closest is None or (gain["better"], gain["worse"]) != (closest.better, closest.worse)
    ):
        gained = difference_of(gain)
        words = lead_in_words(facts.metric, gained)
        parts.append(f"{gained.better}: {words} over {called(gained.worse)}.")
    if (beside := verdict.get("unlabeled_gain")) is not None:
        lead = difference_of(beside)
        words = lead_in_words(facts.metric, lead)
        parts.append(f"Unlabeled images: {words} over {called(lead.worse)}, without them.")
    return [f"{part[0].upper()}{part[1:]}" for part in parts or [_among_baselines(facts)]]


def _among_baselines(facts: Facts) -> str:
    """What is known where no searched policy was confirmed, as when a budget had no time for one."""
    nearest = next((row.lead for row in facts.rows if row.lead is not None), None)  # the best come first
    if nearest is None:
        return "Nothing was compared."
    words = f"{lead_in_words(facts.metric, nearest)} over {called(nearest.worse)}, the best one"
    searched = any(not entry.baseline for entry in facts.entries)
    what = "No searched policy was confirmed" if searched else "No policy was searched"
    return f"{what}. The nearest baseline, {called(nearest.better)}: {words}."


def _over_the_best_baseline(facts: Facts) -> Difference | None:
    best = facts.best_baseline
    return next((lead for lead in facts.leads if best and lead.worse == best.entry.name), None)


def _p_in_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _how_sure(facts: Facts, kind: str) -> list[str]:
    verdict = facts.verdict or {}
    folds = [len(row.scores) for row in facts.rows]
    count = f"{min(folds)} to {max(folds)}" if min(folds) < max(folds) else str(max(folds))
    confidence = f"{100 * verdict.get('confidence', 0.95):.0f} %"
    parts = [
        f"In brackets: {confidence} intervals, from {count} fresh trainings (folds) a policy, on images "
        "that the search had not scored."
    ]
    if (verdict.get("final_check") or {}).get("adopted") is not None:
        parts.append("They are of short trainings; what to use was decided on the final network itself.")
    elif kind == "better":
        if all(one["low"] > 0 for one in verdict.get("differences", ())):
            parts.append("They lie above zero for every baseline: such a lead is hardly luck.")
        else:
            parts.append(
                "Such a lead over every baseline is hardly luck, though an interval, which asks more, has 0."
            )
        if (p := verdict.get("p")) is not None:
            how = "t tests" if "parts" in verdict else "signed-rank tests over folds"  # those of old
            parts.append(f"p {_p_in_words(p)} ({how}, Holm's method among finalists).")
    elif kind == "as good":
        parts.append(
            f"Nothing leads by {margin_in_words(facts)}, the least gain that counts "
            "(two one-sided tests at 5 %)."
        )
    elif (closest := _over_the_best_baseline(facts)) is not None and closest.low > 0:
        parts.append("The lead may be real, but is not clear enough yet to claim it over every baseline.")
    else:
        parts.append("The interval leaves open who is better: a lead inside it may be luck.")
    if (divided := parts_in_words(facts.metric, facts.parts)) is not None:
        parts.append(divided)
    if (more := verdict.get("more_seeds")) is not None:
        parts.append(f"About {_folds(more, 'more fresh fold')} would decide.")
    if (budget := verdict.get("budget")) is not None:
        parts.append(budget)
    return [*parts, *verdict.get("notes", [])]


def _next_steps(facts: Facts) -> list[Step]:
    settings = facts.settings
    if facts.verdict is None or facts.unfinished:
        return [Step("Go on where it stopped", run_again(facts))]
    steps = []
    more = facts.verdict.get("more_seeds")
    if more is not None and settings is not None:
        folds = max(len(row.scores) for row in facts.rows) + more
        longer = settings.changed(confirm_folds=folds)
        steps.append(Step("Decide it with more fresh folds", commands.run_command(longer)))
    if facts.final is not None:
        model = shlex.quote(str(facts.final["model"]))
        steps.append(Step("Use the final model", f"augsearch predict {model} IMAGES…"))
    export = commands.export_command(settings or Settings(), facts.study)
    steps.append(Step("Take the policy along", export))
    if facts.final is None and settings is not None and settings.proxy.own is None:
        steps.append(
            Step(
                "Train the final model, which this run left out",
                commands.train_command(_trained(facts, settings), training_of(facts.chosen)),
            )
        )
    return steps


def reproduce(facts: Facts) -> list[Step]:
    """The commands that make all of it anew."""
    steps = [
        Step("Search, confirm and train as here; what is done already is not done again", run_again(facts))
    ]
    if facts.settings is None:
        return steps
    settings = facts.settings
    report = (
        f"augsearch report {shlex.quote(facts.study)} -o report.html{commands.flags(settings, 'storage')}"
    )
    return [
        *steps,
        Step("Look at every trial", commands.ui_command(settings)),
        Step("Write the policy file", commands.export_command(settings, facts.study)),
        Step("See what it does to images", commands.preview_command(settings)),
        Step(
            "Train a model from it",
            commands.train_command(_trained(facts, settings), training_of(facts.chosen)),
        ),
        Step("Make this page again", report),
    ]


def _trained(facts: Facts, settings: Settings) -> Settings:
    """``settings`` with the epochs of the final training that a budget left."""
    epochs = facts.budget.final_epochs if facts.budget else None
    return settings if epochs is None else settings.changed(final_epochs=epochs)


def run_again(facts: Facts) -> str:
    """The command that began the study."""
    if facts.settings is None:  # a study of old that was stopped before its end
        return f"augsearch run DATA --study {shlex.quote(facts.study)}"
    return commands.run_command(facts.settings)


def training_of(row: Row | None) -> Training:
    """What the policy file of ``row`` says of training."""
    return Training() if row is None else row.entry.candidate.training


def draw_preview(facts: Facts) -> str:
    """The command that draws the preview sheet."""
    return commands.preview_command(facts.settings or Settings())


def race_in_words(facts: Facts) -> str:
    """How many trials came how far."""
    stopped = [entry for entry in facts.entries if entry.state is TrialState.PRUNED]
    whole = facts.states[TrialState.COMPLETE]
    counts = Counter(len(entry.results) for entry in stopped)
    after = ", ".join(f"{counts[folds]} after {_folds(folds)}" for folds in sorted(counts))
    parts = [f"{whole} ran {'the one fold' if facts.folds == 1 else f'all {_folds(facts.folds)}'}"]
    parts += (
        [f"{len(stopped)} {'was' if len(stopped) == 1 else 'were'} stopped early ({after})"]
        if stopped
        else []
    )
    parts += [f"{len(facts.failures)} failed"] if facts.failures else []
    waiting = sum(facts.states.values()) - facts.ended
    parts += [f"{waiting} wait or run"] if waiting else []
    return f"Of {_folds(sum(facts.states.values()), 'trial')}, {', '.join(parts)}."


def margin_of(facts: Facts) -> float:
    """The gain below which a policy counts as no better."""
    return float((facts.verdict or {}).get("margin") or facts.metric.margin)


def margin_in_words(facts: Facts) -> str:
    """The same with its unit: ``1 point``."""
    margin, unit = facts.metric.factor * margin_of(facts), facts.metric.difference_unit
    return f"{margin:g} {unit.replace('points', 'point') if margin == 1 else unit}"


def lead_in_words(metric: Metric, lead: Difference) -> str:
    """``+1.2 [+0.3, +2.1] points``."""
    return metric.shown_difference(lead.mean, lead.low, lead.high)


def score_in_words(metric: Metric, mean: float | None, sd: float | None = None) -> str:
    """``85.3 ± 0.8 %``; a dash where there is none."""
    if mean is None or math.isnan(mean):
        return "–"
    if sd is None or math.isnan(sd):
        return metric.shown(mean)
    return f"{metric.shown(mean, unit=False)} ± {metric.shown_spread(sd)}{metric.suffix}"


def duration(seconds: float) -> str:
    """``3 min 17 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _folds(count: int, what: str = "fold") -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def compared(facts: Facts, mark: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The titles of a table's columns, and a line for each policy that was compared, in words.

    ``mark`` stands before the one that is recommended.
    """
    titles: tuple[str, ...]
    titles = ("", "policy", f"confirmed {facts.metric.label}", "over the best baseline", "what it does")
    lines: list[tuple[str, ...]] = [
        (
            mark if row.recommended else "",
            row.entry.name,
            score_in_words(facts.metric, row.mean, row.sd),
            "–" if row.lead is None else lead_in_words(facts.metric, row.lead),
            describe(row.entry.candidate),
        )
        for row in facts.rows
    ]
    return titles, lines
