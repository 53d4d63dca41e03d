"""Addresses of databases and servers: told to a person without what only their owner may know."""

from __future__ import annotations

import re
from pathlib import Path

SQLITE = "sqlite:///"
"""Begins the address of an SQLite database; its path follows."""

HIDDEN = "***"
"""Stands for a password."""
STORAGE_VARIABLE, TRACKING_VARIABLE = "AUGSEARCH_STORAGE", "MLFLOW_TRACKING_URI"
"""Environment variables that are taken where the flag isn't given: nobody else sees those."""
ADDRESSES = {"storage": STORAGE_VARIABLE, "tracking_uri": TRACKING_VARIABLE}
"""The settings that are addresses, by flat name, and their variables."""

# Up to the last @ before the path: an @ in a password is often not written as %40. Slashes end the host.
_PASSWORD = re.compile(r"(?<=://)([^\s/:@'\"]*):([^\s/'\"]*)@")
_TOKEN = re.compile(r"(https?://)[^\s/:@'\"]+@")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&\s]*(?:pass|passwd|password|token|secret|key))=[^&;\s'\")]+", re.I)


def redacted(text: str) -> str:
    """``text`` without the passwords and tokens of the addresses in it."""
    text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1={HIDDEN}", text)


def is_redacted(address: str) -> bool:
    """Whether something was taken out of ``address``."""
    return f":{HIDDEN}@" in address or f"/{HIDDEN}@" in address or f"={HIDDEN}" in address


def sqlite_file(address: str) -> Path | None:
    """The file of the SQLite database at ``address``; None where that is another database's."""
    if not address.startswith(SQLITE):
        return None
    if not set(address) & set("%?"):
        return Path(address.removeprefix(SQLITE))
    from sqlalchemy import make_url  # some versions of it take %20 for a blank there, and some don't

    return Path(make_url(address).database or "")


def sqlite_address(file: Path) -> str:
    """The address of the SQLite database in ``file``, whatever characters its path has."""
    address = f"{SQLITE}{file}"
    if sqlite_file(address) == file:
        return address
    quoted = f"{SQLITE}{str(file).replace('%', '%25').replace('?', '%3F')}"
    return quoted if sqlite_file(quoted) == file else address
