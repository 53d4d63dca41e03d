"""Settings from a TOML file and flags, and back into a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augsearch.policies import UserError
from augsearch.policies.errors import explain
from augsearch.search.settings.addresses import is_redacted, redacted
from augsearch.search.settings.durations import duration_flag
from augsearch.search.settings.settings import FLAT, Settings, in_sections

BY_IMAGES = ("trials", "proxy_model")
"""Settings, by flat name, that are others than by default for some images; see ``race.resume``."""


def load_settings(config: Path | None, flags: Mapping[str, Any], separator: str = "-") -> Settings:
    """Defaults, then the TOML file, then ``flags`` by flat name; a flag that is None was not given.

    ``separator`` stands between the words of a name in messages: a flag has a hyphen there.

    Raises:
        UserError: the file can't be read, or a field is unknown or breaks its rule.
    """
    fields = _read_toml(config) if config is not None else {}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        Settings.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{config}: {explain(error, names=_flat_where(fields))}") from None
    except UnicodeEncodeError as error:  # pydantic's, of values that are no file's name
        raise UserError(
            f"{config}: {error.object!r} has bytes that are no UTF-8; write it as UTF-8"
        ) from None
    try:
        return Settings.model_validate({**in_sections(fields), **given})
    except ValidationError as error:
        raise UserError(explain(error, separator=separator, names=_flat_where(FLAT))) from None


def _flat_where(names: Mapping[str, Any]) -> dict[str, str]:
    """Section and field → flat name, for the settings that ``names`` calls by the latter."""
    return {f"{section}.{field}": flat for flat, (section, field) in FLAT.items() if flat in names}


def _read_toml(config: Path) -> dict[str, Any]:
    try:
        # Some editors begin a file with a mark of its encoding, which is no part of what is written.
        text = config.read_text(encoding="utf-8", errors="surrogateescape").removeprefix("\ufeff")
        return tomllib.loads(text)
    except OSError as error:
        raise UserError(f"{config}: {(error.strerror or str(error)).lower()}; give a TOML file") from None
    except ValueError as error:
        raise UserError(f"{config}: not valid TOML ({error})") from None
    except RecursionError:
        raise UserError(f"{config}: not valid TOML (nested too deeply)") from None


def show_settings(settings: Settings) -> str:
    """The settings as TOML, fit to be a ``--config`` file; fields without a value stand as comments.

    So do those that the budget plans, or that follow from the images: a file that gave them would fix them.
    """
    import tomli_w

    tables: dict[str, dict[str, Any]] = {}
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(value, dict):
            tables[name] = value
        else:
            tables.setdefault("", {})[name] = value
    planned = {FLAT[name] for name in settings.left_to_budget}
    by_images = {FLAT[name] for name in BY_IMAGES if name not in settings.given}
    texts = []
    for name, fields in tables.items():
        said, comments = {}, ""
        for field, value in fields.items():
            if (name, field) in planned:
                comments += f"# {field} = (planned by the budget)\n"
            elif value is None or (name, field) in by_images:
                comments += f"# {field} = (automatic)\n"
            elif isinstance(value, str) and is_redacted(redacted(value)):
                comments += f"# {field} = (has a password, which is not written down: {redacted(value)})\n"
            elif (name, field) == ("", "budget"):
                said[field] = value if value == "none" else duration_flag(value)
            else:
                said[field] = value
        texts.append(tomli_w.dumps({name: said} if name else said) + comments)
    return "\n".join(texts)
