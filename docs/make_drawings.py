"""Writes the drawings of ``docs/concepts.md``, SVG for light and dark, into ``docs/drawings``.

python docs/make_drawings.py            write them
python docs/make_drawings.py --check    fail if they are not what it would write
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).with_name("drawings")
AGAIN = "python docs/make_drawings.py"
WIDTH = 720

STYLE = """\
text { font: 14px system-ui, "Segoe UI", "Liberation Sans", sans-serif; fill: var(--ink); }
.small { font-size: 12px; fill: var(--muted); } .head { font-weight: 600; } .middle { text-anchor: middle; }
.end { text-anchor: end; }
.box { fill: var(--raised); stroke: var(--line); } .ours { fill: var(--ours); } .usual { fill: var(--usual); }
.good { fill: var(--good); } .faint { fill: var(--line); }
.line { stroke: var(--muted); fill: none; stroke-width: 1.5; }
.dash { stroke-dasharray: 4 4; } .span { stroke-width: 4; } .span.ours, .dot.ours { stroke: var(--ours); }
.span.good { stroke: var(--good); } .tip { fill: var(--muted); }
:root {
  --ink: #1b1f24; --muted: #57606a; --raised: #f4f6f8; --line: #c3cbd3;
  --ours: #1a5fcc; --usual: #a84a00; --good: #187534;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ed; --muted: #a3adb8; --raised: #1a2028; --line: #4a5562;
    --ours: #7ab0ff; --usual: #ffb066; --good: #5fd183;
  }
}"""


def words(x: float, y: float, said: str, look: str = "") -> str:
    """Text whose baseline is at ``y``."""
    return f'<text x="{x:g}" y="{y:g}" class="{look}">{escape(said)}</text>'


def box(x: float, y: float, width: float, height: float, look: str = "box") -> str:
    """A rectangle with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="{look}"/>'


def card(x: float, y: float, width: float, title: str, *lines: str) -> str:
    """A box with a title and small lines below it, in its middle."""
    middle = x + width / 2
    below = [words(middle, y + 40 + 16 * row, line, "small middle") for row, line in enumerate(lines)]
    return "\n".join(
        [box(x, y, width, 34 + 16 * len(lines)), words(middle, y + 21, title, "head middle"), *below]
    )


def line(x1: float, y1: float, x2: float, y2: float, look: str = "line") -> str:
    """A straight line."""
    return f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" class="{look}"/>'


def arrow(x1: float, x2: float, y: float) -> str:
    """An arrow to the right."""
    return line(x1, y, x2 - 6, y) + f'<path d="M{x2:g} {y:g} l-8 -4 v8 z" class="tip"/>'


def dot(x: float, y: float, look: str) -> str:
    """A point of a chart."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="6" class="{look}"/>'


def policy() -> tuple[int, str, list[str]]:
    """From an image to what the network sees."""
    told = "An image goes through flip and crop, then N operations drawn at magnitude M, then mixing."
    parts = [card(4, 30, 80, "image"), arrow(86, 108, 47)]
    parts += [
        card(110, 14, 142, "basic transforms", "flip, crop, turns,", "each by chance"),
        arrow(254, 276, 47),
    ]
    parts += [card(278, 14, 196, "N operations", "drawn anew for each image,", "at magnitude M (0–30)")]
    parts += [arrow(476, 498, 47), card(500, 14, 116, "mixing", "CutMix, MixUp,", "or neither")]
    parts += [arrow(618, 640, 47), words(646, 52, "network"), words(278, 108, "N = 2, M = 9, say:", "small")]
    drawn = ("rotate +9°, then solarize", "shear x −0.09, then posterize", "equalize, then translate y +4 px")
    parts += [words(406, 108 + 18 * row, one, "small") for row, one in enumerate(drawn)]
    return 152, told, parts


def fold() -> tuple[int, str, list[str]]:
    """The parts of the data, and what one fold is."""
    told = "Train, validation, confirmation and a sealed test part; a fold is a subset of train and a seed."
    parts = [words(4, 20, "your images, divided once", "head")]
    for x, width, name, use in (
        (4, 286, "train", "learned from"),
        (294, 122, "validation", "scores the search"),
        (420, 136, "confirmation", "scores the finalists"),
        (560, 156, "test (sealed)", "read once, at the end"),
    ):
        parts += [box(x, 30, width, 30), words(x + width / 2, 50, name, "middle")]
        parts += [words(x + width / 2, 76, use, "small middle")]
    for number, (start, seed) in enumerate(((4, 17), (50, 42), (27, 5))):
        y = 98 + 40 * number
        parts += [box(4, y, 286, 22), box(start, y, 190, 22, "ours"), arrow(296, 330, y + 11)]
        parts += [words(336, y + 16, f"fold {number}: this subset, seed {seed}, the whole schedule", "small")]
    return 206, told, parts


def race() -> tuple[int, str, list[str]]:
    """Who ran how many folds."""
    told = "Baselines begin the race; who can no longer lead stops early."
    baselines = {"flip + crop": 6, "RandAugment (2, 9)": 6, "TrivialAugment": 2}
    candidates = {"candidate 7": 6, "candidate 8": 2, "candidate 9": 6, "candidate 10": 3}
    parts = [words(164 + 66 * number, 20, f"fold {number}", "small") for number in range(6)]
    for row, (name, run) in enumerate((baselines | candidates).items()):
        y, look = 30 + 28 * row, "usual" if name in baselines else "ours"
        parts += [words(150, y + 16, name, "end")]
        parts += [box(160 + 66 * one, y, 60, 20, look if one < run else "faint") for one in range(6)]
        parts += [words(566, y + 15, "to the end" if run == 6 else "stopped early", "small")]
    return 232, told, parts


def verdict() -> tuple[int, str, list[str]]:
    """What the three verdicts look like as intervals."""
    told = "The lead over the best baseline with its interval: above zero, within the margin, or too wide."
    zero, point = 330, 36.0
    parts = [box(zero - point, 26, 2 * point, 122, "faint"), line(zero, 18, zero, 156)]
    parts += [words(zero, 12, "the best baseline", "small middle")]
    parts += [words(zero, 172, "a margin that hardly matters", "small middle")]
    cases = {
        "better": (0.9, 1.8, 2.7, "good"),
        "as good: use the simpler": (-0.6, 0.1, 0.8, "ours"),
        "undecided: more seeds": (-2.1, 0.9, 4.1, "ours"),
    }
    for row, (name, (low, mean, high, look)) in enumerate(cases.items()):
        y = 48 + 38 * row
        parts += [
            words(4, y + 5, name, "head"),
            line(zero + point * low, y, zero + point * high, y, f"span {look}"),
        ]
        said = f"{mean:+g} [{low:+g}, {high:+g}] points"
        parts += [dot(zero + point * mean, y, look), words(zero + point * high + 12, y + 5, said, "small")]
    return 182, told, parts


def carry_over() -> tuple[int, str, list[str]]:
    """Ranks by the stand-in against ranks by the model that ships."""
    told = "Ranks by the search's short trainings against ranks as final models: near the diagonal or not."
    ranks: Sequence[tuple[Sequence[int], str, int]] = (
        ((1, 2, 4, 3, 5, 7, 6, 8), "carries over: the ranks agree", 60),
        ((5, 2, 7, 1, 8, 3, 6, 4), "does not: search on the model itself", 400),
    )
    parts = []
    for order, name, left in ranks:
        parts += [box(left + 20, 10, 200, 190), line(left + 20, 200, left + 220, 10, "line dash")]
        parts += [dot(left + 20 + 22 * (at + 1), 205 - 21 * rank, "ours") for at, rank in enumerate(order)]
        parts += [words(left + 120, 220, "rank by the search →", "small middle")]
        parts += [words(left + 120, 242, name, "head middle")]
        turned = f'transform="translate({left + 10} 105) rotate(-90)" class="small middle"'
        parts += [f"<text {turned}>rank as final model →</text>"]
    return 252, told, parts


DRAWINGS = (policy, fold, race, verdict, carry_over)


def page(height: int, told: str, parts: Sequence[str]) -> str:
    """The whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
    )
    return "\n".join(
        [head, f"<title>{escape(told)}</title>", f"<style>\n{STYLE}\n</style>", *parts, "</svg>\n"]
    )


if __name__ == "__main__":
    made = {FOLDER / f"{one.__name__.replace('_', '-')}.svg": page(*one()) for one in DRAWINGS}
    if sys.argv[1:] == ["--check"]:
        old = [
            path.name
            for path, text in made.items()
            if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
        if old:
            sys.exit(f"{', '.join(old)}: not what it would be; make it again with: {AGAIN}")
    else:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
