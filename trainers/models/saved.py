"""Trained models in files: written whole, and loaded by their card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from augsearch.policies import UserError
from augsearch.policies.atomic import whole_file
from augsearch.policies.errors import first_line
from augsearch.trainers.models.build import build_model
from augsearch.trainers.models.learned import Keys, written
from augsearch.trainers.models.spec import ModelSpec, read_card, write_card


def save_model(
    model: nn.Module,
    spec: ModelSpec,
    path: Path,
    card: dict[str, JsonValue],
    learned: Keys | None = None,
) -> None:
    """Write the weights to ``path`` (``.safetensors``) and a card beside it (``.json``).

    The card holds the spec under ``model`` and, beside it, whatever ``card`` says of the training.
    ``learned``: the images that the model has learned from, which the file of the weights then says; None:
    it doesn't say.
    """
    state = apart(model.state_dict())
    with whole_file(path) as temporary:
        save_file(state, temporary, None if learned is None else written(learned))
    write_card(path, {**card, "model": spec.model_dump(mode="json")})


def apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies for a file, which has no two names for one memory; some networks share their layers."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def load_model(path: Path, *, average_flips: bool | None = None) -> tuple[nn.Module, ModelSpec]:
    """Read a model that ``save_model`` wrote; no code in the file is run.

    ``average_flips``: whether it averages over mirror images; None: as its card says.

    Raises:
        UserError: a file is missing or does not fit.
    """
    spec = read_card(path)
    if average_flips is not None:
        spec = spec.model_copy(update={"average_flips": average_flips})
    try:
        model = build_model(spec, seed=0)
        model.load_state_dict(load_file(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a model that augsearch saved ({first_line(error)})") from None
    return model.eval(), spec
