"""The gRPC methods and refusals of the wire protocol, as data that server and client share.

The stubs that protoc would generate bind a method's path to the messages' package; here the two differ
(see ``proto/``), and a table is shorter than either.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from google.protobuf.message import Message

from .wire import attestation_pb2, health_pb2, inference_pb2, models_pb2

__all__ = [
    "AUTHORIZATION_METADATA",
    "DELETE",
    "GET_EVIDENCE",
    "HEALTH_CHECK",
    "LIST",
    "MAX_CHUNK_SIZE",
    "METHODS",
    "MODEL_INFER",
    "MODEL_METADATA",
    "MODEL_READY",
    "RECEIPT_NONCE_PARAMETER",
    "RECEIPT_PARAMETER",
    "REFUSAL_METADATA",
    "SERVER_LIVE",
    "SERVER_METADATA",
    "SERVER_NAME",
    "SERVER_READY",
    "UPLOAD",
    "Method",
    "Refusal",
]

SERVER_NAME = "glasshouse-enclave"
"""The DNS name in every enclave's certificate. It identifies nobody: the certificate's key does."""

AUTHORIZATION_METADATA = "authorization"
"""The metadata in which an API key travels, as ``Bearer gh_…``."""

REFUSAL_METADATA = "glasshouse-refusal"
"""The trailing metadata that names the :class:`Refusal` behind a gRPC status."""

RECEIPT_NONCE_PARAMETER = "receipt_nonce"
RECEIPT_PARAMETER = "receipt"
MAX_CHUNK_SIZE = 1 << 20
"""The most bytes that one chunk of an upload has."""

_MessageType: TypeAlias = type[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One gRPC method: its path and its messages. Only ``streams_requests`` methods stream, one way."""

    service: str
    name: str
    request: _MessageType
    response: _MessageType
    streams_requests: bool = False

    @property
    def path(self) -> str:
        """What HTTP/2 calls the method."""
        return f"/{self.service}/{self.name}"


def _inference(name: str) -> Method:
    return Method(
        service="inference.GRPCInferenceService",
        name=name,
        request=getattr(inference_pb2, f"{name}Request"),
        response=getattr(inference_pb2, f"{name}Response"),
    )


SERVER_LIVE = _inference("ServerLive")
SERVER_READY = _inference("ServerReady")
SERVER_METADATA = _inference("ServerMetadata")
MODEL_READY = _inference("ModelReady")
MODEL_METADATA = _inference("ModelMetadata")
MODEL_INFER = _inference("ModelInfer")

GET_EVIDENCE = Method(
    service="glasshouse.v1.Attestation",
    name="GetEvidence",
    request=attestation_pb2.GetEvidenceRequest,
    response=attestation_pb2.GetEvidenceResponse,
)
UPLOAD = Method(
    service="glasshouse.v1.Models",
    name="Upload",
    request=models_pb2.UploadRequest,
    response=models_pb2.UploadResponse,
    streams_requests=True,
)
LIST = Method(
    service="glasshouse.v1.Models",
    name="List",
    request=models_pb2.ListRequest,
    response=models_pb2.ListResponse,
)
DELETE = Method(
    service="glasshouse.v1.Models",
    name="Delete",
    request=models_pb2.DeleteRequest,
    response=models_pb2.DeleteResponse,
)
HEALTH_CHECK = Method(
    service="grpc.health.v1.Health",
    name="Check",
    request=health_pb2.HealthCheckRequest,
    response=health_pb2.HealthCheckResponse,
)

METHODS = (
    SERVER_LIVE,
    SERVER_READY,
    SERVER_METADATA,
    MODEL_READY,
    MODEL_METADATA,
    MODEL_INFER,
    GET_EVIDENCE,
    UPLOAD,
    LIST,
    DELETE,
    HEALTH_CHECK,
)


class Refusal(Enum):
    """Why the server refused: a reason for machines, the gRPC status it comes with, a text for people.

    The texts are fixed: nothing of a request is ever in one.
    """

    API_KEY_REQUIRED = ("api-key-required", "UNAUTHENTICATED", "this call needs an api key")
    API_KEY_UNKNOWN = ("api-key-unknown", "UNAUTHENTICATED", "the api key is not known here")
    NAMESPACE_FORBIDDEN = (
        "namespace-forbidden",
        "PERMISSION_DENIED",
        "the api key does not admit to that namespace",
    )
    NONCE_SIZE = ("nonce-size", "INVALID_ARGUMENT", "a nonce has 32 bytes")
    MODEL_ID_MALFORMED = ("model-id-malformed", "INVALID_ARGUMENT", "the model id is malformed")
    MODEL_NOT_FOUND = ("model-not-found", "NOT_FOUND", "there is no such model")
    MODEL_INVALID = ("model-invalid", "INVALID_ARGUMENT", "the model is not one that onnxruntime can load")
    MODEL_TOO_LARGE = ("model-too-large", "RESOURCE_EXHAUSTED", "the model is larger than allowed")
    MODELS_TOO_MANY = ("models-too-many", "RESOURCE_EXHAUSTED", "the server holds as many models as allowed")
    MODELS_TOO_LARGE = (
        "models-too-large",
        "RESOURCE_EXHAUSTED",
        "the server's models together are as large as allowed",
    )
    MODEL_PRELOADED = (
        "model-preloaded",
        "PERMISSION_DENIED",
        "the model is part of the configuration and stays as it is",
    )
    UPLOAD_MALFORMED = (
        "upload-malformed",
        "INVALID_ARGUMENT",
        "an upload is one header and then chunks of the size it names",
    )
    UPLOAD_DIGEST = ("upload-digest", "DATA_LOSS", "the bytes received do not have the digest announced")
    UPLOAD_TIMEOUT = ("upload-timeout", "DEADLINE_EXCEEDED", "the upload took longer than allowed")
    INPUT_NAME = ("input-name", "INVALID_ARGUMENT", "the names of the inputs are not the model's")
    INPUT_SHAPE = ("input-shape", "INVALID_ARGUMENT", "the shape of an input does not fit the model")
    INPUT_RANK = ("input-rank", "INVALID_ARGUMENT", "the rank of an input does not fit the model")
    INPUT_DATATYPE = (
        "input-datatype",
        "INVALID_ARGUMENT",
        "the data type of an input is not the model's",
    )
    INPUT_CONTENTS = (
        "input-contents",
        "INVALID_ARGUMENT",
        "the contents of an input do not fit its shape and data type",
    )
    OUTPUT_NAME = ("output-name", "INVALID_ARGUMENT", "the model has no output of that name")
    PARAMETER = ("parameter", "INVALID_ARGUMENT", "a parameter of the request is malformed or not supported")
    REQUEST_MALFORMED = (
        "request-malformed",
        "INVALID_ARGUMENT",
        "the request is not the one message that the call takes",
    )
    REQUEST_TIMEOUT = ("request-timeout", "DEADLINE_EXCEEDED", "the request took longer than allowed")
    REQUEST_TOO_LARGE = ("request-too-large", "RESOURCE_EXHAUSTED", "the request is larger than allowed")
    RESPONSE_TOO_LARGE = ("response-too-large", "RESOURCE_EXHAUSTED", "the response is larger than allowed")
    BUSY = ("busy", "RESOURCE_EXHAUSTED", "the server has as many requests under way as allowed")
    INFERENCE_TIMEOUT = ("inference-timeout", "DEADLINE_EXCEEDED", "the inference took longer than allowed")
    INFERENCE_FAILED = ("inference-failed", "INTERNAL", "the model failed on these inputs")
    ATTESTATION_UNAVAILABLE = ("attestation-unavailable", "UNAVAILABLE", "the platform gave no quote")
    SERVICE_UNKNOWN = ("service-unknown", "NOT_FOUND", "there is no such service")
    INTERNAL = ("internal", "INTERNAL", "the server failed")

    @property
    def reason(self) -> str:
        """What travels in :data:`REFUSAL_METADATA`."""
        return self.value[0]

    @property
    def status(self) -> str:
        """The name of the gRPC status code."""
        return self.value[1]

    @property
    def text(self) -> str:
        """The status message."""
        return self.value[2]
