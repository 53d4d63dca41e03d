"""What an augmentation policy is and how it is applied to images; importing it imports no torch."""

from augsearch.policies.choices import Choice, OperationSequence, OwnOperation
from augsearch.policies.document import PolicyFile, json_schema, read_policy, write_policy
from augsearch.policies.errors import UserError
from augsearch.policies.mixing import BatchMixing, Mix, Mixing, draw_mix
from augsearch.policies.policy import RANDAUGMENT, TRIVIALAUGMENT, Policy
from augsearch.policies.ready import ready_names
from augsearch.policies.registry import MAX_MAGNITUDE, OPERATION_SETS, OPERATIONS, Operation
from augsearch.policies.training import Distillation, Semi, Training, Transfer

__all__ = [
    "MAX_MAGNITUDE",
    "OPERATIONS",
    "OPERATION_SETS",
    "RANDAUGMENT",
    "TRIVIALAUGMENT",
    "BatchMixing",
    "Choice",
    "Distillation",
    "Mix",
    "Mixing",
    "Operation",
    "OperationSequence",
    "OwnOperation",
    "Policy",
    "PolicyFile",
    "Semi",
    "Training",
    "Transfer",
    "UserError",
    "draw_mix",
    "json_schema",
    "read_policy",
    "ready_names",
    "write_policy",
]
