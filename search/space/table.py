"""All searched dimensions as a page: ``python -m augsearch.search.space.table > docs/dimensions.md``."""

from __future__ import annotations

from collections.abc import Iterator

from augsearch.search.space.dimension import Dimension
from augsearch.search.space.dimensions import Section, dimensions
from augsearch.search.space.ranges import shown_value
from augsearch.search.space.space import TECHNIQUES, fields_of

SECTIONS: dict[Section, tuple[str, str]] = {
    "policy": ("The policy", "Fields of `Policy`; always searched."),
    "distillation": ("The teacher", "Fields of `Distillation`; searched where there is a teacher."),
    "transfer": ("Pretrained weights", "Fields of `Transfer`; searched with `--transfer search`."),
    "semi": (
        "Images without labels",
        "Settings of the technique; searched where there are such images, but for those that are given. The "
        "technique itself is searched with `--semi search`. Where `unlabeled_policy` is `own`, all "
        "dimensions of the policy are searched once more, with names that begin with `unlabeled_`.",
    ),
    "balance": ("Classes of unequal size", "A field of `Training`; searched with `--class-balance search`."),
}
"""The title of each section, and when it is searched."""

HEAD = """# What a search chooses

Each line is one `Dimension`, declared in `search/space/`; this page is made from the
declarations by `python -m augsearch.search.space.table`.

*Parameter* is the dimension's name in the Optuna study. *Default* is what a baseline has whose policy says
nothing else. *Step* is how a neighbour moves: the first trials after the baselines are small steps from the
best candidate so far.
"""

_COLUMNS = ("parameter", "values", "default", "step", "asked for when", "field", "what it is")


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(section: Section) -> Iterator[str]:
    title, when = SECTIONS[section]
    yield f"## {title}\n\n{when}\n"
    yield _line(_COLUMNS)
    yield _line(["---"] * len(_COLUMNS))
    for dimension in dimensions(section, ["OPERATION"]):
        yield _line(_cells(dimension, section))
    yield ""


def _cells(dimension: Dimension, section: Section) -> list[str]:
    fields = ", ".join(f"`{name}`" for name in dimension.landing.names)
    return [
        f"`{dimension.name}`",
        str(dimension.range),
        shown_value(dimension.default),
        str(dimension.step),
        _condition(dimension, section),
        fields,
        dimension.words.meaning,
    ]


def _condition(dimension: Dimension, section: Section) -> str:
    if section != "semi":
        asked = str(dimension.when or "always")
        asked += f", with `--space {dimension.space}`" if dimension.space else ""
        return f"{asked}, for photos" if dimension.photos else asked
    users = [name for name in TECHNIQUES if dimension.landing.names[0] in fields_of(name)]
    return "always" if len(users) == len(TECHNIQUES) else f"`semi` is {' or '.join(users)}"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(page(), end="")
