"""Names of models: ``namespace/name``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import MalformedError

__all__ = ["PUBLIC_NAMESPACE", "ModelId", "check_part"]

PUBLIC_NAMESPACE = "public"
_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModelId:
    """A model's full name. Each part has 1 to 63 of ``a-z 0-9 . _ -`` and starts with a letter or digit."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        check_part(self.namespace)
        check_part(self.name)

    @classmethod
    def parse(cls, text: str) -> ModelId:
        """Return the id that ``text`` writes as ``namespace/name``."""
        namespace, slash, name = text.partition("/")
        if not slash:
            raise MalformedError("a model id is of the form namespace/name")
        return cls(namespace=namespace, name=name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def check_part(part: str) -> None:
    """Return if ``part`` may be a namespace or a name; raises :class:`MalformedError` if not."""
    if not _PART.fullmatch(part):
        raise MalformedError(
            "the parts of a model id have 1 to 63 of a-z 0-9 . _ - and start with a letter or digit"
        )
