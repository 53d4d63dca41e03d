"""What an augmentation policy is and how it is applied to images: NumPy, OpenCV and pydantic only."""

from augsearch.policies.errors import UserError
from augsearch.policies.files import (
    Distillation,
    PolicyFile,
    Training,
    Transfer,
    json_schema,
    read_policy,
    write_policy,
)
from augsearch.policies.mixing import BatchMixing, Mix, Mixing, draw_mix
from augsearch.policies.operations import MAX_MAGNITUDE, OPERATION_SETS, OPERATIONS, RANDAUGMENT, Operation
from augsearch.policies.policy import TRIVIALAUGMENT, Policy

__all__ = [
    "MAX_MAGNITUDE",
    "OPERATIONS",
    "OPERATION_SETS",
    "RANDAUGMENT",
    "TRIVIALAUGMENT",
    "BatchMixing",
    "Distillation",
    "Mix",
    "Mixing",
    "Operation",
    "Policy",
    "PolicyFile",
    "Training",
    "Transfer",
    "UserError",
    "draw_mix",
    "json_schema",
    "read_policy",
    "write_policy",
]
