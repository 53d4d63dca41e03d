"""From timed contestants to tables and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.tables import Table, rounded
from benchmarks.throughput.memory import Peak
from benchmarks.throughput.timing import Timed

if TYPE_CHECKING:
    from benchmarks.throughput.cuda import Measured
    from benchmarks.throughput.starting import First, Threads

SLOWER = "▼"

BySide = dict[int, list[Timed]]


def randaugment_table(by_side: BySide, title: str) -> Table:
    """Every contestant's rate at every size; ours with how many times the fastest peer's that is."""
    batches = "; ".join(f"at {side} px {_batch_sizes(timed)}" for side, timed in by_side.items())
    rows = []
    for index, first in enumerate(next(iter(by_side.values()))):
        who = first.contestant
        cells = []
        for timed in by_side.values():
            one = timed[index]
            cell = f"{rounded(one.rate)} ± {100 * one.spread:.0f} %"
            if who.ours:
                rivals = [
                    other
                    for other in timed
                    if other.contestant.interpolation == who.interpolation
                    and other.contestant.draws == "image"
                ]
                cell += f" (× {one.rate / _fastest_peer(rivals).rate:.2g})"
            cells.append(cell)
        name = f"**{who.library}**" if who.ours else who.library
        name += ", OpenCV's path" if who.path == "opencv" else ""
        rows.append((name, who.form, who.interpolation, who.draws, *cells))
    return Table(
        title,
        ("library", "takes", "sampling", "draws for each", *(f"{side} px" for side in by_side)),
        rows,
        words=4,
        notes="Images per second on one core: the median of the rounds ± half of their range. In brackets: "
        "times the rate of the fastest peer that draws for each image, with the same sampling. Where the "
        "operations are drawn for a whole batch, all of it gets the same two (with kornia's own signs). "
        "Every library does the same fourteen operations at the same strengths, on images that are in "
        f"its own form already and stay in it. Images in our batches and in the peers': {batches}.",
    )


def operations_table(side: int, by_job: dict[str, list[Timed]]) -> Table:
    """Ours and the fastest peer, for single images and for whatever is fastest."""
    rows = []
    for name, timed in by_job.items():
        ours = [one for one in timed if one.contestant.ours]
        single, batch = (
            next(one for one in ours if one.contestant.batched is batched) for batched in (False, True)
        )
        peers = [one for one in timed if not one.contestant.ours]
        rows.append(
            (
                name,
                *_against(single, [one for one in peers if not one.contestant.batched]),
                *_against(batch, peers),
            )
        )
    return Table(
        f"Operation by operation, {side} px",
        ("operation", "ours, one image", "fastest peer", "ours ÷", "ours, batch", "fastest peer", "ours ÷"),
        rows,
        notes="Images per second on one core. Left: image by image. Right: our batches against the fastest "
        f"peer in any form; † has one value for the whole batch. {SLOWER} ours is slower. Ours draws for "
        "each image; most peers are called with the value at hand. Pillow stands for timm and for "
        "torchvision's PIL transforms too, which call it.",
    )


def memory_table(peaks: Sequence[Peak]) -> Table:
    """The peak of a batch, in batches."""
    rows = [
        (
            f"{peak.count} × {peak.side} px",
            peak.interpolation,
            f"{peak.traced:.2f}",
            "" if peak.resident is None else f"{peak.resident:.2f}",
        )
        for peak in peaks
    ]
    return Table(
        "Memory of a batch",
        ("batch", "sampling", "NumPy's arrays", "resident memory"),
        rows,
        words=2,
        notes="The highest point during `batch_transform`, above the memory with the batch in place, in "
        "units of that batch. The augmented batch itself is 1.",
    )


def starting_tables(first: Sequence[First], threads: Sequence[Threads]) -> list[Table]:
    """What a process pays once, and what a second thread brings."""
    return [
        Table(
            "First call",
            ("path", "seconds by the clock", "seconds of the processor"),
            [(one.path, f"{one.wall:.2f}", f"{one.processor:.2f}") for one in first],
            words=1,
            notes="From after `import augsearch.policies` until the first batch is augmented, in a fresh "
            "process. The core is compiled once on a machine and kept on disk.",
        ),
        Table(
            "Two threads",
            ("path", "side", "times the images of one"),
            [
                (
                    one.path,
                    f"{one.side} px",
                    f"{one.ratio:.2f} ({min(one.ratios):.2f} to {max(one.ratios):.2f})",
                )
                for one in threads
            ],
            words=2,
            notes="Each on batches of its own, in turns with one thread: the median of the rounds and their "
            "range.",
        ),
    ]


def gpu_tables(measured: Sequence[Measured], device: str) -> list[Table]:
    """Augmentation alone, and what it adds to a training step."""
    steps = [one for one in measured if one.what.startswith("training step")]
    augmentations = [one for one in measured if one not in steps]
    tables = [
        Table(
            f"RandAugment (2, 9) on {device}",
            ("what", "batch", "ms", "images per second"),
            [
                (one.what, f"{one.count} × {one.side} px", f"{one.milliseconds:.2f}", rounded(one.rate))
                for one in augmentations
            ],
            words=2,
            notes="kornia draws two operations for the whole batch and signs for each image, torchvision "
            "everything for the whole batch, ours everything for each image.",
        )
    ]
    rows = []
    for one in steps:
        plain = next(
            other
            for other in steps
            if other.what == "training step" and (other.side, other.count) == (one.side, one.count)
        )
        share = 1 - plain.milliseconds / one.milliseconds
        rows.append(
            (
                one.what,
                f"{one.count} × {one.side} px",
                f"{one.milliseconds:.2f}",
                rounded(one.rate),
                "" if one is plain else f"{100 * share:.1f} %",
            )
        )
    tables.append(
        Table(
            "Share of a training step",
            ("what", "batch", "ms", "images per second", "augmentation's share"),
            rows,
            words=2,
            notes="ResNet-18, forward, backward and SGD step, channels last, bfloat16.",
        )
    )
    return tables


def plain(timed: Sequence[Timed], **more: Any) -> list[dict[str, Any]]:
    """Raw figures."""
    return [
        more
        | {
            "library": one.contestant.library,
            "form": one.contestant.form,
            "batch": one.contestant.per_input,
            "interpolation": one.contestant.interpolation,
            "path": one.contestant.path,
            "draws for each": one.contestant.draws,
            "images per second": round(one.rate, 1),
            "rounds": [round(rate, 1) for rate in one.rounds],
        }
        for one in timed
    ]


def _batch_sizes(timed: Sequence[Timed]) -> str:
    sizes = {one.contestant.ours: one.contestant.per_input for one in timed if one.contestant.batched}
    return f"{sizes[True]} and {sizes[False]}"


def _fastest_peer(timed: Sequence[Timed]) -> Timed:
    return max((one for one in timed if not one.contestant.ours), key=lambda one: one.rate)


def _against(ours: Timed, peers: Sequence[Timed]) -> tuple[str, str, str]:
    if not peers:
        return rounded(ours.rate), "none", ""
    fastest = _fastest_peer(peers)
    dagger = "†" if fastest.contestant.draws == "batch" else ""
    ratio = f"{SLOWER} " if ours.rate < fastest.rate else ""
    return (
        rounded(ours.rate),
        f"{fastest.contestant.library}{dagger} {rounded(fastest.rate)}",
        f"{ratio}{ours.rate / fastest.rate:.2g}",
    )
