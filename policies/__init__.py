"""What an augmentation policy is and how it is applied to images: NumPy, OpenCV and pydantic only."""

from augsearch.policies.errors import UserError
from augsearch.policies.files import PolicyFile, json_schema, read_policy, write_policy
from augsearch.policies.mixing import BatchMixing, Mix, Mixing, draw_mix
from augsearch.policies.operations import MAX_MAGNITUDE, OPERATION_SETS, OPERATIONS, RANDAUGMENT, Operation
from augsearch.policies.policy import TRIVIALAUGMENT, Policy
from augsearch.policies.training import Distillation, Semi, Training, Transfer

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
    "Semi",
    "Training",
    "Transfer",
    "UserError",
    "draw_mix",
    "json_schema",
    "read_policy",
    "write_policy",
]
