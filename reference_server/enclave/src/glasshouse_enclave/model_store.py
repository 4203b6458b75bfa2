"""The models that the server holds, and how many and how large they may be together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.model_id import PUBLIC_NAMESPACE, ModelId
from glasshouse_attestations.rpc import Refusal

from .errors import RefusedError
from .model import Model

__all__ = ["ModelStore", "StoredModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A loaded model, under its id, with the digest and size of the bytes that it was loaded from."""

    model_id: ModelId
    sha256: bytes
    size: int
    model: Model


class ModelStore:
    """Models by id, within the configuration's limits.

    Room is reserved before the first byte of an upload is read and kept until it ends, so uploads under way
    count like models. A model that is being replaced counts beside its successor, until it is replaced.
    Once a model of the configuration is loaded it is neither replaced nor deleted, whoever asks: the quote
    binds its digest, and that has to stay what is served.
    The store changes on the event loop only, without waiting in between; any thread may look models up.
    """

    def __init__(self, configuration: RuntimeConfiguration) -> None:
        self._limits = configuration
        self._preloaded = frozenset(model.model_id for model in configuration.models)
        self._models: dict[ModelId, StoredModel] = {}
        self._reserved: dict[ModelId, int] = {}

    @contextmanager
    def reserved(self, model_id: ModelId, *, size: int) -> Iterator[None]:
        """Hold room for a model of ``size`` bytes for the length of a ``with`` block, or refuse.

        One upload to an id can be under way at a time.
        """
        self._check_changeable(model_id)
        self._check_room(model_id, size)
        self._reserved[model_id] = size
        try:
            yield
        finally:
            del self._reserved[model_id]

    def _check_changeable(self, model_id: ModelId) -> None:
        if model_id in self._preloaded and model_id in self._models:
            raise RefusedError(Refusal.MODEL_PRELOADED)

    def _check_room(self, model_id: ModelId, size: int) -> None:
        if size > self._limits.max_model_bytes:
            raise RefusedError(Refusal.MODEL_TOO_LARGE)
        if model_id in self._reserved:
            raise RefusedError(Refusal.BUSY)
        if len({model_id, *self._models, *self._reserved}) > self._limits.max_models:
            raise RefusedError(Refusal.MODELS_TOO_MANY)
        held = sum(model.size for model in self._models.values()) + sum(self._reserved.values())
        if held + size > self._limits.max_total_model_bytes:
            raise RefusedError(Refusal.MODELS_TOO_LARGE)

    def put(self, model: StoredModel) -> None:
        """Add or replace a model for which room is reserved. Inferences under way end with the old one."""
        if self._reserved.get(model.model_id) != model.size:
            raise ValueError("a model needs reserved room of its size")
        self._models[model.model_id] = model

    def find(self, name: str, *, namespace: str | None) -> StoredModel:
        """Return the model that ``name`` means to a caller who has shown the key of ``namespace``.

        ``namespace/name`` means itself; a bare name first means the caller's own model, then the public one.
        """
        for model_id in _candidates(name, namespace):
            if (model := self._models.get(model_id)) is not None:
                return model
        raise RefusedError(Refusal.MODEL_NOT_FOUND)

    def delete(self, model_id: ModelId) -> None:
        """Remove a model; refuses if there is none. Inferences under way still end with it."""
        self._check_changeable(model_id)
        if self._models.pop(model_id, None) is None:
            raise RefusedError(Refusal.MODEL_NOT_FOUND)

    def listed(self, *, namespace: str | None) -> tuple[StoredModel, ...]:
        """Return the public models and those of ``namespace``, in order of their ids."""
        visible = [m for m in self._models.values() if m.model_id.namespace in (PUBLIC_NAMESPACE, namespace)]
        return tuple(sorted(visible, key=lambda model: model.model_id))


def _candidates(name: str, namespace: str | None) -> tuple[ModelId, ...]:
    try:
        if "/" in name:
            return (ModelId.parse(name),)
        namespaces = (PUBLIC_NAMESPACE,) if namespace is None else (namespace, PUBLIC_NAMESPACE)
        return tuple(ModelId(namespace=namespace, name=name) for namespace in namespaces)
    except MalformedError:
        raise RefusedError(Refusal.MODEL_ID_MALFORMED) from None
