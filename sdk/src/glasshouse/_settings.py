"""Where a client takes its address, policy, API key and state directory from, if its caller names none."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError

from .errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Settings", "load_settings"]

_MAX_SIZE = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What is configured; ``None`` where nothing is. A relative policy path counts from the file's folder."""

    address: str | None
    policy: str | None
    api_key: str | None
    state: Path


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of ``config.toml``, overridden by the ``GLASSHOUSE_*`` variables.

    Raises :class:`ConfigurationError` for a file that cannot be read or has an unknown field.
    """
    home = _home(environment)
    folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "glasshouse"
    written = _read(folder / "config.toml")
    policy = written.get("policy")
    state_home = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state")
    return Settings(
        address=environment.get("GLASSHOUSE_ADDRESS") or written.get("address"),
        policy=environment.get("GLASSHOUSE_POLICY") or (str(folder / policy) if policy else None),
        api_key=environment.get("GLASSHOUSE_API_KEY") or written.get("api_key"),
        state=Path(environment.get("GLASSHOUSE_STATE") or state_home / "glasshouse"),
    )


def _home(environment: Mapping[str, str]) -> Path:
    named = environment.get("HOME") or environment.get("USERPROFILE")
    return Path(named) if named else Path.home()


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise ConfigurationError(
            f"{path} cannot be read: {err.strerror}", hint="correct its permissions, or remove it"
        ) from err
    try:
        if len(data) > _MAX_SIZE:
            raise MalformedError(f"more than {_MAX_SIZE} bytes")
        document = Document(tomllib.loads(data.decode("utf-8")), "config")
        values = {
            name: document.text(name) for name in ("address", "policy", "api_key") if document.has(name)
        }
        document.end()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, MalformedError) as err:
        raise ConfigurationError(
            f"{path} is not a client configuration: {err}",
            hint="it may have the fields address, policy and api_key, each a text",
        ) from err
    return values
