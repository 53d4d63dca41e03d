"""From a study, or a policy file, to a policy file or another library's form of it."""

from __future__ import annotations

from pathlib import Path

from augsearch.policies import PolicyFile, UserError, read_policy, write_policy
from augsearch.policies.atomic import write_text
from augsearch.policies.errors import writing
from augsearch.policies.exchange.form import forms, written
from augsearch.policies.exchange.head import head_lines
from augsearch.policies.ready import is_ready
from augsearch.search.pipelines.exchange import in_words
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.space.describe import describe
from augsearch.search.studies.controls import by_number, check_known
from augsearch.search.studies.policy_file import policy_file_of
from augsearch.search.studies.refinement import refined
from augsearch.search.studies.study import finished, load_study, open_to_read

OWN = "json"
"""The form that is the policy file itself."""


def export_policy(
    source: str,
    output: Path | None,
    kind: str,
    *,
    trial: int | None,
    storage: str | None,
    approximate: bool,
    data: str | None,
) -> str:
    """Write the policy of a study or of a file; returns lines that say which, and what is not as it was.

    Args:
        source: the name of a study, the path of a policy file, or the name of a ready policy.
        output: the file; None: ``policy`` with the form's suffix.
        kind: a form in ``policies/exchange/``, or ``json``.
        trial: its number, instead of what the verdict recommends.
        storage: where the study is.
        approximate: whether what the form can't say may be left to what comes near.
        data: images to measure on how near; None: two sample photos.

    Raises:
        UserError: there is no such study, file or trial, nothing to export yet, or the form can't say it.
    """
    file, words = policy_of(source, trial, storage)
    if kind == OWN:
        output = output or Path("policy.json")
        with writing(output):
            write_policy(file, output)
        return f"{output}: {words}"
    form = forms()[kind]
    output = output or Path(f"policy{form.suffix}")
    made = written(file, form, approximate=approximate)
    differences = in_words(file, form, made.differences, data)
    with writing(output):
        write_text(output, form.head(made.text, head_lines(file, kind, differences, made.notes)))
    approximated = [f"  approximated: {one}" for one in differences]
    return "\n".join([f"{output}: {words}", *approximated, *(f"  {note}" for note in made.notes)])


def is_file(source: str) -> bool:
    """Whether ``source`` names a policy file or a ready policy, and no study."""
    return Path(source).is_file() or source.endswith(".json") or is_ready(source)


def policy_of(source: str, trial: int | None, storage: str | None) -> tuple[PolicyFile, str]:
    """The policy file of ``source``, as for ``export_policy``, and which it is in words.

    Raises:
        UserError: there is no such study, file or trial, or nothing has finished yet.
    """
    return _of_file(source, trial) if is_file(source) else _of_study(source, trial, storage)


def _of_file(source: str, trial: int | None) -> tuple[PolicyFile, str]:
    if trial is not None:
        raise UserError(f"{source}: a policy file has no trials; leave out --trial")
    return read_policy(source), f"the policy of {source}"


def _of_study(name: str, trial: int | None, storage: str | None) -> tuple[PolicyFile, str]:
    """The policy file of a trial, or of what the verdict recommends, and which it is."""
    study = load_study(open_to_read(storage or TrackingSettings().storage), name)
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
    check_known(study, number, known)
    if verdict is not None and number != verdict["recommended"]:
        # What was said of another is no evidence for this one.
        note = f"; the verdict recommends {known[verdict['recommended']].name}"
        verdict = {"confirmation": [one for one in verdict["confirmation"] if one["number"] == number]}
    entry = refined(study, known[number])
    return policy_file_of(study, entry, verdict), f"{entry.name} ({describe(entry.candidate)}){note}"
