"""From a study to a policy file, with where it comes from and why to believe it."""

from __future__ import annotations

from pathlib import Path

from augsearch.policies import UserError, write_policy
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.space.describe import describe
from augsearch.search.studies.controls import by_number
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.refinement import refined
from augsearch.search.studies.study import finished, load_study, open_storage


def export_policy(name: str, output: Path, trial: int | None, storage: str | None) -> str:
    """Write the policy file of a trial, or of what the verdict recommends; returns a line that says which.

    Raises:
        UserError: there is no such study or trial, or nothing to export yet.
    """
    study = load_study(open_storage(storage or TrackingSettings().storage), name)
    known = by_number(study)
    verdict = study.user_attrs.get("verdict")
    note = ""
    if trial is not None:
        number = trial
    elif verdict is not None:
        number = verdict["recommended"]
    else:
        done = finished(study)
        if not done:
            raise UserError(f"study {name!r} has no finished trial yet; run it on with augsearch run")
        number = max(done, key=lambda entry: entry.score).number
        note = "; not confirmed yet, so its lead may be luck"
    if number not in known:
        raise UserError(f"study {name!r} has no trial {number} with results; it has {_ranges(list(known))}")
    entry = refined(study, known[number])
    write_policy(policy_file_of(study, entry, verdict), output)
    return f"{output}: {entry.name} ({describe(entry.candidate)}){note}"


def _ranges(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
