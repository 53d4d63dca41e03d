"""``augsearch run --refine``: N and M around the winner, tuned on the network that ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean

import optuna

from augsearch.policies import MAX_MAGNITUDE
from augsearch.search.console import Display
from augsearch.search.final.scored import ScoredFinals
from augsearch.search.pipelines.final_scores import FinalScores
from augsearch.search.statistics.paired import compare
from augsearch.search.studies.refinement import (
    ATTRIBUTE,
    Magnitude,
    Point,
    Refinement,
    refinement_in_words,
)
from augsearch.search.studies.study import Entry
from augsearch.trainers.evaluation.metrics import METRICS
from augsearch.trainers.workspace.candidate import Candidate

SCREENED, FRESH = 2, 5
"""Seeds on which all points are trained; and others, on which the best and the winner are compared."""
FURTHER, MOST_OPS = 4, 4
"""How far M goes to either side; and the most operations, as in the search."""

Place = tuple[int, Magnitude]
"""N and M."""


def refine(study: optuna.Study, entry: Entry, finals: ScoredFinals, display: Display) -> None:
    """Tune N and M of the winner, ``entry``, on the final network, and keep what came of it in ``study``.

    All points around it are trained as final models with the same seeds. The one that looks best is compared
    with the winner on other seeds, because it was chosen by those. What is trained already is not trained
    again. The test part is not read.

    Raises:
        UserError: a training can't be run.
    """
    policy = entry.candidate.policy
    if not policy.num_ops:
        display.line(f"{entry.name} has no operations, so there are no N and M to refine")
        return
    if not policy.draws_names:
        display.line(f"{entry.name} has operations with strengths of their own, so there is no M to refine")
        return
    scored = FinalScores(study, finals, ATTRIBUTE, "without --refine")
    winner: Place = (policy.num_ops, policy.magnitude)
    places = {place: with_place(entry.candidate, place) for place in (winner, *around(winner))}
    _train(scored, places, range(SCREENED), entry, display)

    def mean(place: Place) -> float:
        return fmean(scored.scores(places[place], range(SCREENED)))

    ranked = sorted((place for place in places if place != winner), key=lambda place: -mean(place))
    best, lead = ranked[0], None
    if mean(best) > mean(winner):
        fresh = range(SCREENED, SCREENED + FRESH)
        both = {place: places[place] for place in (best, winner)}
        _train(scored, both, fresh, entry, display)
        first, second = (scored.results(candidate, fresh) for candidate in both.values())
        lead = compare(_words(best), first, _words(winner), second)
    points = [Point(*place, scored.scores(places[place], range(SCREENED))) for place in (winner, *ranked)]
    found = Refinement(entry.number, points[0], tuple(points[1:]), lead)
    study.set_user_attr(ATTRIBUTE, found.to_json())
    display.line(refinement_in_words(found, METRICS[finals.settings.search.metric]))


def around(place: Place) -> list[Place]:
    """The points around N and M within their ranges; a random M stays random."""
    num_ops, magnitude = place
    counts = [n for n in (num_ops - 1, num_ops, num_ops + 1) if 1 <= n <= max(MOST_OPS, num_ops)]
    magnitudes: Sequence[Magnitude] = [magnitude]
    if isinstance(magnitude, int):
        steps = (magnitude - FURTHER, magnitude, magnitude + FURTHER)
        magnitudes = sorted({min(max(step, 0), MAX_MAGNITUDE) for step in steps})
    return [one for one in product(counts, magnitudes) if one != place]


def _words(place: Place) -> str:
    return f"N = {place[0]}, M = {place[1]}"


def with_place(candidate: Candidate, place: Place) -> Candidate:
    """``candidate`` with other N and M."""
    changed = {"num_ops": place[0], "magnitude": place[1]}
    return candidate.model_copy(update={"policy": candidate.policy.model_copy(update=changed)})


def _train(
    scored: FinalScores, places: Mapping[Place, Candidate], seeds: range, entry: Entry, display: Display
) -> None:
    """Run what is missing of these points and seeds."""
    named = {_words(place): candidate for place, candidate in places.items()}
    if missing := scored.missing(named, seeds):
        display.line(
            f"refining N and M of {entry.name} on {scored.finals.plan(entry.candidate).model}: "
            f"{len(missing)} final trainings of {len(places)} points with {len(seeds)} seeds"
        )
    scored.train(named, seeds, display)
