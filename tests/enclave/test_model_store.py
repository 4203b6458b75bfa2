"""Room for models: what is reserved counts, and what is given back can be had again."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from glasshouse_attestations.configuration import PreloadedModel, RuntimeConfiguration
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.rpc import Refusal
from glasshouse_enclave.errors import RefusedError
from glasshouse_enclave.gate import Gate
from glasshouse_enclave.model_store import ModelStore, StoredModel

_ANY: Any = None


def _id(name: str, namespace: str = "alice") -> ModelId:
    return ModelId(namespace=namespace, name=name)


def _store(**limits: int) -> ModelStore:
    configuration = RuntimeConfiguration(
        **{"max_models": 2, "max_model_bytes": 60, "max_total_model_bytes": 100, **limits}  # type: ignore[arg-type]
    )
    return ModelStore(configuration)


def _put(store: ModelStore, model_id: ModelId, size: int = 10) -> None:
    with store.reserved(model_id, size=size):
        store.put(StoredModel(model_id=model_id, sha256=bytes(32), size=size, model=_ANY))


def _refusal(store: ModelStore, model_id: ModelId, size: int) -> Refusal:
    with pytest.raises(RefusedError) as info, store.reserved(model_id, size=size):
        pass
    return info.value.refusal


def test_reserved_room_counts_until_it_is_given_back() -> None:
    store = _store()
    with store.reserved(_id("a"), size=60):
        assert _refusal(store, _id("b"), 41) is Refusal.MODELS_TOO_LARGE
        with store.reserved(_id("b"), size=40):
            assert _refusal(store, _id("c"), 1) is Refusal.MODELS_TOO_MANY
    with store.reserved(_id("b"), size=60):
        pass


def test_room_is_given_back_when_an_upload_fails() -> None:
    store = _store(max_models=1)
    with pytest.raises(RuntimeError, match="broken"), store.reserved(_id("a"), size=60):
        raise RuntimeError("broken")
    _put(store, _id("b"), 60)


def test_a_model_of_the_configuration_is_loaded_once_and_then_stays() -> None:
    kept = _id("kept", "public")
    store = ModelStore(
        RuntimeConfiguration(models=(PreloadedModel(model_id=kept, sha256=bytes(32)),), max_model_bytes=60)
    )
    _put(store, kept)
    assert _refusal(store, kept, 10) is Refusal.MODEL_PRELOADED
    with pytest.raises(RefusedError) as info:
        store.delete(kept)
    assert info.value.refusal is Refusal.MODEL_PRELOADED
    assert store.find("kept", namespace=None).size == 10
    _put(store, _id("kept", "alice"))
    store.delete(_id("kept", "alice"))


def test_a_model_counts_beside_its_successor() -> None:
    store = _store()
    _put(store, _id("a"), 60)
    assert _refusal(store, _id("a"), 41) is Refusal.MODELS_TOO_LARGE
    _put(store, _id("a"), 40)
    _put(store, _id("b"), 60)
    assert [model.size for model in store.listed(namespace="alice")] == [40, 60]


def test_one_upload_to_an_id_is_under_way_at_a_time() -> None:
    store = _store()
    with store.reserved(_id("a"), size=1):
        assert _refusal(store, _id("a"), 1) is Refusal.BUSY


def test_a_model_is_too_large_whatever_room_there_is() -> None:
    assert _refusal(_store(), _id("a"), 61) is Refusal.MODEL_TOO_LARGE


def test_a_model_needs_reserved_room_of_its_size() -> None:
    store = _store()
    model = StoredModel(model_id=_id("a"), sha256=bytes(32), size=10, model=_ANY)
    with pytest.raises(ValueError, match="reserved"):
        store.put(model)
    with store.reserved(_id("a"), size=9), pytest.raises(ValueError, match="reserved"):
        store.put(model)


def test_names_mean_the_callers_model_before_the_public_one() -> None:
    store = _store(max_models=3)
    _put(store, _id("m", "public"))
    _put(store, _id("m", "alice"))
    _put(store, _id("n", "bob"))
    for name, namespace, found in [
        ("m", None, "public/m"),
        ("m", "alice", "alice/m"),
        ("m", "bob", "public/m"),
        ("public/m", "alice", "public/m"),
        ("bob/n", None, "bob/n"),
        ("n", "bob", "bob/n"),
    ]:
        assert str(store.find(name, namespace=namespace).model_id) == found
    for name, namespace in [("n", None), ("n", "alice"), ("alice/n", "bob")]:
        with pytest.raises(RefusedError) as info:
            store.find(name, namespace=namespace)
        assert info.value.refusal is Refusal.MODEL_NOT_FOUND


def test_the_public_models_and_ones_own_are_listed_in_order() -> None:
    store = _store(max_models=4)
    for name, namespace in [("b", "public"), ("x", "alice"), ("a", "public"), ("y", "bob")]:
        _put(store, _id(name, namespace))
    assert [str(m.model_id) for m in store.listed(namespace=None)] == ["public/a", "public/b"]
    assert [str(m.model_id) for m in store.listed(namespace="alice")] == ["alice/x", "public/a", "public/b"]


def test_a_gate_refuses_at_once_and_counts_those_inside() -> None:
    gate = Gate(2)
    with ExitStack() as stack:
        stack.enter_context(gate.held())
        stack.enter_context(gate.held())
        with pytest.raises(RefusedError) as info:
            gate.enter()
        assert info.value.refusal is Refusal.BUSY
    gate.enter()
    gate.leave()
    with pytest.raises(ValueError, match="too many"):
        gate.leave()
