"""How images without labels are learned from, as searched dimensions."""

from __future__ import annotations

from augsearch.search.space.dimension import Dimension, Landing, Words, field, silent
from augsearch.search.space.ranges import SWITCH, Choice, Integer, Real
from augsearch.search.space.space import TECHNIQUES
from augsearch.search.space.steps import Leave, Normal, Redraw, Toss, Uniform, Whole

_RATIO = Integer(1, 4)
"""Each unlabeled image costs as much as a labeled one does."""
_THRESHOLD = Real(0.5, 0.99)

UNLABELED: list[Dimension] = [
    Dimension(
        "semi",
        Choice(("none", *TECHNIQUES)),
        default="none",
        step=Leave("none", 0.6, otherwise=Redraw(0.3)),
        lands=field("technique"),
        words=Words(
            "the technique for unlabeled images",
            lambda semi: TECHNIQUES[semi.technique],
            lambda semi: f"unlabeled images by {TECHNIQUES[semi.technique]}",
        ),
    ),
    Dimension(
        "unlabeled_weight",
        Real(0.1, 4.0, log=True),
        default=1.0,
        step=Normal(0.5),
        lands=field("weight"),
        words=Words("the weight of the unlabeled images' loss, λ", lambda own: f"λ={own.weight:.2g}", silent),
    ),
    Dimension(
        "unlabeled_ratio",
        _RATIO,
        default=2,
        step=Whole(1),
        lands=field("ratio", read=_RATIO.nearest),
        words=Words("unlabeled images to a labeled one, μ", lambda semi: f"μ={semi.ratio:.2g}", silent),
    ),
    Dimension(
        "threshold",
        _THRESHOLD,
        default=0.95,
        step=Normal(0.1),
        lands=field("threshold", read=_THRESHOLD.nearest),
        words=Words(
            "how sure of its answer the model must be, τ", lambda semi: f"τ={semi.threshold:.2f}", silent
        ),
    ),
    Dimension(
        "student_noise",
        Real(0.0, 0.3),
        default=0.1,
        step=Normal(0.1),
        lands=Landing(
            ("dropout", "stochastic_depth"),
            lambda noise: {"dropout": noise, "stochastic_depth": noise},
            lambda semi: semi.dropout,
        ),
        words=Words(
            "dropout and stochastic depth of the students",
            lambda semi: f"noise {semi.dropout:.2g}",
            silent,
            last=True,
        ),
    ),
    Dimension(
        "unlabeled_temperature",
        Real(1.0, 20.0, log=True),
        default=4.0,
        step=Uniform(2.0, 8.0),
        lands=field("temperature"),
        words=Words(
            "softens both distributions on unlabeled images, T",
            lambda semi: f"T={semi.temperature:.1f}",
            silent,
        ),
    ),
    Dimension(
        "per_class",
        SWITCH,
        default=False,
        step=Redraw(0.3),
        words=Words(
            "whether each class has a threshold of its own",
            lambda semi: "per class" if semi.per_class else "",
            silent,
        ),
    ),
    Dimension(
        "pseudo_labels",
        Choice(("hard", "soft")),
        default="hard",
        step=Redraw(0.3),
        lands=field("labels"),
        words=Words(
            "the likeliest class alone, or all classes' probabilities",
            lambda semi: "soft" if semi.labels == "soft" else "",
            silent,
        ),
    ),
    Dimension(
        "unlabeled_policy",
        Choice(("same", "own")),
        default="same",
        step=Toss("own", 0.3),
        # Of an own policy come dimensions like the policy's.
        lands=Landing(("policy",), lambda value: {}, lambda semi: "own" if semi.policy else "same"),
        words=Words(
            "whether unlabeled images have a policy of their own, with all the policy's dimensions again",
            silent,  # ``describe`` tells the policy
            silent,
        ),
    ),
]
"""The dimensions of the section ``semi``."""
