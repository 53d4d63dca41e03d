"""The report: one page about a study, from its verdict to the commands that make it anew.

It is one file without scripts that asks nothing of any network; a browser is told to hold it to that.
"""

from __future__ import annotations

import base64
import io
import re
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from augsearch.policies import UserError
from augsearch.policies.atomic import write_text
from augsearch.policies.errors import writing
from augsearch.search.console import page_written
from augsearch.search.report import charts as charts
from augsearch.search.report import sentences as words
from augsearch.search.report.facts import Facts, changed_settings, gather
from augsearch.search.report.further import further_charts
from augsearch.search.settings.sections import TrackingSettings
from augsearch.search.space.describe import describe
from augsearch.search.studies.ablation import judged, sentence
from augsearch.search.studies.controls import is_control
from augsearch.search.studies.final_check import final_check_in_words
from augsearch.search.studies.proxy_check import belief_in_words, seeds_in_words, spread_of
from augsearch.search.studies.refinement import refinement_in_words
from augsearch.search.studies.study import check_own, load_study, open_to_read

WIDEST = 1100
"""Pixels of an embedded picture: what a wide screen shows of it, twice as sharp as a phone needs."""


def report_study(name: str, output: Path, storage: str | None) -> str:
    """``augsearch report``: write the page about study ``name``; returns a line that says where.

    Raises:
        UserError: there is no such study, or the page can't be written.
    """
    study = load_study(open_to_read(storage or TrackingSettings().storage), name)
    write_report(study, output)
    return page_written(output)


def write_report(study: optuna.Study, output: Path, folder: Path | None = None) -> bool:
    """Write the page about ``study``, whose pictures are in ``folder``; False if it stood there already.

    Raises:
        UserError: the study is not augsearch's, or the page can't be written.
    """
    check_own(study)
    page = in_utf8(render(gather(study, folder)))
    with writing(output):
        try:
            if output.is_file() and output.read_text(encoding="utf-8") == page:
                return False
        except UnicodeDecodeError:
            raise UserError(
                f"{output}: can't be written (no page is there now); give another --output"
            ) from None
        write_text(output, page)
    return True


def render(facts: Facts, again: str = "") -> str:
    """The page; with ``again``, the command that serves it, it follows its study, see ``live.py``."""
    here = resources.files("augsearch.search.report")
    environment = environment_of_pages()
    environment.tests["control"] = is_control
    environment.filters |= {
        "score": lambda mean, sd=None: words.score_in_words(facts.metric, mean, sd),
        "lead": lambda lead: words.lead_in_words(facts.metric, lead),
        "duration": words.duration,
        "picture": data_uri,
        "describe": describe,
        "unbroken": unbroken,
        "judged": judged,
        "ablated": sentence,
        "believed": belief_in_words,
        "mean": fmean,
        "on_final": final_check_in_words,
        "refined": lambda found: refinement_in_words(found, facts.metric),
        "sd": spread_of,
        "between_seeds": seeds_in_words,
    }
    shown = charts.charts_of(facts, words.margin_of(facts)) | further_charts(facts)
    further = environment.from_string((here / "further.html.jinja").read_text(encoding="utf-8"))
    template = environment.from_string((here / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        facts=facts,
        further=Markup(further.render(facts=facts, charts=shown, metric=facts.metric.label)),
        style=style(),
        again=again,
        script=live_script(),
        headline=words.headline(facts),
        go_on=words.run_again(facts),
        draw_preview=words.draw_preview(facts),
        reproduce=words.reproduce(facts),
        race_in_words=words.race_in_words(facts),
        metric=facts.metric.label,
        margin=words.margin_in_words(facts),
        changed=changed_settings(facts.settings),
        charts=shown,
        most_rows=charts.MOST_ROWS,
    )


def style() -> Markup:
    """The stylesheet of all pages."""
    return Markup((resources.files("augsearch.search.report") / "page.css").read_text(encoding="utf-8"))


def live_script() -> Markup:
    """The script of a page that follows its study: the only one that there is."""
    return Markup((resources.files("augsearch.search.report") / "live.js").read_text(encoding="utf-8"))


def environment_of_pages() -> Environment:
    """What renders the templates of pages."""
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def in_utf8(page: str) -> str:
    """A page that can be written: names of folders, which it tells, may be of any bytes."""
    return page.encode("utf-8", "backslashreplace").decode()


def unbroken(sentence: str) -> str:
    """``sentence`` without line breaks inside ``(2, 9)`` and ``[-0.4, +1.2]``."""
    return re.sub(r"(?<=\d), (?=[-+\d])", ",\N{NO-BREAK SPACE}", sentence)


def data_uri(path: Path) -> Markup:
    """The picture at ``path`` as a link that holds it: the smaller of a PNG with a palette and a JPEG."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)))
    kinds = {
        "png": _encoded(picture.quantize(256, dither=Image.Dither.NONE), "PNG", optimize=True),
        "jpeg": _encoded(picture, "JPEG", quality=85, optimize=True),
    }
    kind = min(kinds, key=lambda kind: len(kinds[kind]))
    return Markup(f"data:image/{kind};base64,{base64.b64encode(kinds[kind]).decode()}")


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
