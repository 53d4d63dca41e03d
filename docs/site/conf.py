"""How Sphinx makes the site, ``make docs``, from the repository's own Markdown files, where they stand."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.ext.napoleon.docstring import GoogleDocstring

project = "augsearch"
author = "the augsearch authors"
release = installed("augsearch")
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**",
    "examples/README.md",
]
root_doc = "README"
templates_path = ["templates"]

myst_heading_anchors = 3
# A page may begin a part of itself one level lower, as code hosts allow.
suppress_warnings = ["myst.header"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = "augsearch"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
html_show_sphinx = False

CONTENTS = {
    "Start": ["docs/quickstart", "docs/concepts", "docs/guide", "docs/comparison"],
    "How to": [
        "docs/data",
        "docs/in-your-code",
        "docs/training-with/README",
        "docs/python",
        "examples/README",
        "docs/scaling",
    ],
    "Reference": [
        "docs/cli",
        "docs/policy-format",
        "docs/dimensions",
        "docs/api/policies",
        "docs/api/trainers",
        "docs/api/search",
    ],
    "Results": ["docs/results/README"],
    "Design": [
        "docs/how-it-searches",
        "docs/architecture",
        "docs/versions",
        "CONTRIBUTING",
        "SECURITY",
        "CHANGELOG",
    ],
}
"""The parts of the site in its margin, with their pages; a page that is in none ends the build."""
BELOW = {"docs/results/README": "docs/results/*", "docs/training-with/README": "docs/training-with/*"}
"""Pages that have all others of their folder below them."""


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Give a page its table of contents, which its Markdown does without on a code host."""
    if page == root_doc:
        source[0] += "".join(_contents(pages, caption) for caption, pages in CONTENTS.items())
    elif page in BELOW:
        source[0] += _contents([BELOW[page]])


def _contents(pages: list[str], caption: str = "") -> str:
    lines = [
        ":hidden:",
        ":glob:",
        *([f":caption: {caption}"] if caption else []),
        "",
        *(f"/{page}" for page in pages),
    ]
    return "\n\n```{toctree}\n" + "\n".join(lines) + "\n```\n"


def load_lazy_names(_: Sphinx) -> None:
    """Import what the public faces import when it is first used, for autodoc lists what is there."""
    for name in ("augsearch.trainers", "augsearch.search"):
        face = import_module(name)
        for public in face.__all__:
            setattr(face, public, getattr(face, public))


def name_parameters(_: Sphinx, what: str, __: str, described: Any, *others: Any) -> tuple[str, str] | None:
    """A model's or dataclass's fields by name alone: what they are stands below, one by one."""
    if what != "class" or not (hasattr(described, "model_fields") or is_dataclass(described)):
        return None
    return f"({', '.join(inspect.signature(described).parameters)})", ""


def read_docstring(_: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Turn Google's sections into what Sphinx reads; an attribute's has none, though it may have a colon."""
    if what not in ("attribute", "data"):
        what = "method" if what == "property" else what  # whose first line would be read as a type
        lines[:] = GoogleDocstring(lines, None, None, what, name, described, options).lines()


def refuse_other_hosts(app: Sphinx, failed: Exception | None) -> None:
    """End the build if a page would load a script, a style, a font or a picture from anywhere else.

    Raises:
        ExtensionError: one would.
    """
    place = r"""["']?(?:https?:)?//"""
    loads = re.compile(rf"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)={place}[^>]*>|url\({place}")
    for page in Path(app.outdir).rglob("*.[hc][ts][ms]*"):
        if failed is None and (found := loads.search(page.read_text(encoding="utf-8"))):
            raise ExtensionError(f"{page}: loads from another host: {found[0]}")


def setup(app: Sphinx) -> None:
    """Hook all of it in."""
    app.connect("builder-inited", load_lazy_names)
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-signature", name_parameters)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("build-finished", refuse_other_hosts)
