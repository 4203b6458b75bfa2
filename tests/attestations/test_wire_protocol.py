"""The wire protocol: generated from its sources, and compatible with other clients of the same protocols."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from glasshouse_attestations import rpc
from glasshouse_attestations.rpc import METHODS, Refusal
from glasshouse_attestations.wire import attestation_pb2, health_pb2, inference_pb2, models_pb2
from support.repository import ROOT

SOURCES = ROOT / "attestations" / "proto"
GENERATED = ROOT / "attestations" / "src"
NAMES = ("attestation", "health", "inference", "models")


def is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def pinned_version(distribution: str) -> str:
    """The version that the development lock has of ``distribution``."""
    lines = (ROOT / "locks" / "dev.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split()[0].partition("==") for line in lines if line.startswith(f"{distribution}==")]
    return pins[0][2]


@pytest.mark.skipif(not is_installed("grpcio-tools"), reason="grpcio-tools is not installed")
def test_the_messages_are_what_the_pinned_compiler_generates(tmp_path: Path) -> None:
    assert metadata.version("grpcio-tools") == pinned_version("grpcio-tools")
    sources = [f"glasshouse_attestations/wire/{name}.proto" for name in NAMES]
    options = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", *options, *sources],
        check=True,
        cwd=SOURCES,
    )
    generated = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    assert len(generated) == 2 * len(NAMES)
    tracked = {path.relative_to(GENERATED) for path in GENERATED.rglob("*_pb2.py*") if path.suffix != ".pyc"}
    assert tracked == set(generated)
    for path, content in generated.items():
        assert (GENERATED / path).read_bytes() == content, f"{path} is not what {path.stem} generates"


def test_every_source_has_its_messages() -> None:
    assert sorted(path.stem for path in SOURCES.rglob("*.proto")) == sorted(NAMES)


def triton() -> Any:
    """The messages of NVIDIA's client, an implementation of the protocol that others wrote."""
    if not is_installed("tritonclient"):
        pytest.skip("tritonclient is not installed")
    return importlib.import_module("tritonclient.grpc.service_pb2")


def type_name(field: FieldDescriptor) -> str | None:
    """A message type's name without its package, which does not travel."""
    message = field.message_type
    return message.full_name.removeprefix(f"{message.file.package}.") if message else None


def shape_of(field: FieldDescriptor) -> tuple[Any, ...]:
    """Everything that decides how a field travels, and what programs call it."""
    oneof = field.containing_oneof
    return (
        field.name,
        field.number,
        field.type,
        field.is_repeated,
        field.has_presence,
        type_name(field),
        oneof.name if oneof else None,
    )


def assert_compatible(ours: Descriptor, theirs: Descriptor) -> None:
    assert list(map(shape_of, ours.fields)) == list(map(shape_of, theirs.fields)), ours.full_name
    assert set(ours.nested_types_by_name) == set(theirs.nested_types_by_name), ours.full_name
    for name, nested in ours.nested_types_by_name.items():
        assert nested.GetOptions().map_entry == theirs.nested_types_by_name[name].GetOptions().map_entry
        assert_compatible(nested, theirs.nested_types_by_name[name])


@pytest.mark.parametrize("name", sorted(inference_pb2.DESCRIPTOR.message_types_by_name))
def test_a_message_is_field_by_field_the_one_of_tritonclient(name: str) -> None:
    theirs = triton().DESCRIPTOR.message_types_by_name[name]
    assert_compatible(inference_pb2.DESCRIPTOR.message_types_by_name[name], theirs)


def test_the_methods_are_those_of_tritonclient() -> None:
    service = triton().DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in METHODS:
        if method.service != "inference.GRPCInferenceService":
            continue
        theirs = service.methods_by_name[method.name]
        assert method.service == service.full_name
        assert theirs.input_type.name == method.request.DESCRIPTOR.name
        assert theirs.output_type.name == method.response.DESCRIPTOR.name
        assert not theirs.client_streaming
        assert not theirs.server_streaming


def test_a_request_of_tritonclient_is_read_as_it_was_written() -> None:
    module = triton()
    theirs = module.ModelInferRequest(model_name="alice/m", id="1", raw_input_contents=[b"\0" * 8])
    theirs.parameters["receipt_nonce"].string_param = "00" * 32
    tensor = theirs.inputs.add(name="x", datatype="FP32", shape=[1, -1])
    tensor.contents.fp32_contents.extend([1.5, -2.0])
    theirs.outputs.add(name="y").parameters["binary"].bool_param = True
    ours = inference_pb2.ModelInferRequest.FromString(theirs.SerializeToString())
    assert ours.model_name == "alice/m"
    assert ours.parameters["receipt_nonce"].string_param == "00" * 32
    assert list(ours.inputs[0].shape) == [1, -1]
    assert list(ours.inputs[0].contents.fp32_contents) == [1.5, -2.0]
    assert ours.outputs[0].parameters["binary"].bool_param
    back = module.ModelInferRequest.FromString(ours.SerializeToString())
    assert back == theirs


def test_the_health_messages_travel_as_every_health_client_expects() -> None:
    # grpc.health.v1: service = 1 (string), status = 1 (enum: UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN).
    assert health_pb2.HealthCheckRequest(service="a").SerializeToString() == b"\x0a\x01a"
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        expected = b"\x08" + bytes([number]) if number else b""
        assert health_pb2.HealthCheckResponse(status=name).SerializeToString() == expected


def test_the_methods_have_different_paths_of_the_documented_services() -> None:
    paths = [method.path for method in METHODS]
    assert len(set(paths)) == len(paths)
    assert set(paths) == {
        *(
            f"/inference.GRPCInferenceService/{name}"
            for name in (
                "ServerLive",
                "ServerReady",
                "ServerMetadata",
                "ModelReady",
                "ModelMetadata",
                "ModelInfer",
            )
        ),
        "/glasshouse.v1.Attestation/GetEvidence",
        *(f"/glasshouse.v1.Models/{name}" for name in ("Upload", "List", "Delete")),
        "/grpc.health.v1.Health/Check",
    }
    assert [method.name for method in METHODS if method.streams_requests] == ["Upload"]


def test_every_message_of_a_service_is_a_method_s_or_a_part_of_one() -> None:
    used = {message.DESCRIPTOR.full_name for m in METHODS for message in (m.request, m.response)}
    for module in (attestation_pb2, health_pb2, inference_pb2, models_pb2):
        for name, message in module.DESCRIPTOR.message_types_by_name.items():
            if name.endswith(("Request", "Response")):
                assert message.full_name in used


def test_each_refusal_has_its_own_reason_and_a_status_of_grpc() -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    statuses = set(grpc.StatusCode.__members__)
    assert len({refusal.reason for refusal in Refusal}) == len(Refusal)
    for refusal in Refusal:
        assert refusal.status in statuses - {"OK"}
        assert refusal.reason == refusal.name.lower().replace("_", "-")
        assert refusal.text.isascii()
        assert refusal.text == refusal.text.lower()
        assert not refusal.text.endswith(".")


def test_the_names_of_metadata_are_ones_that_grpc_can_carry() -> None:
    for name in (rpc.AUTHORIZATION_METADATA, rpc.REFUSAL_METADATA):
        assert name == name.lower()
        assert not name.endswith("-bin")
        assert not name.startswith("grpc-")
