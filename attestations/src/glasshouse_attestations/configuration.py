"""The runtime configuration: everything security-relevant that an operator chooses.

Its bytes are hashed into every quote, and the client receives them: what an operator chose is visible.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from . import canonical_json
from .canonical_json import JSON
from .document import Document
from .errors import MalformedError
from .model_id import ModelId, check_part

__all__ = ["ApiKey", "PreloadedModel", "RuntimeConfiguration", "generate_api_key"]

_SCHEMA = "glasshouse/configuration/v1"
_MAX_SIZE = 128 << 10
_MAX_API_KEYS = 256
_MAX_MODELS = 256
_API_KEY = re.compile(r"gh_[A-Za-z0-9_-]{43}", re.ASCII)


def generate_api_key() -> str:
    """Return a fresh API key: ``gh_`` and 256 random bits."""
    return "gh_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Who may upload to and delete from ``namespace``: the holder of the key with this SHA-256.

    The hash can be public, because a key has 256 random bits.
    """

    namespace: str
    sha256: bytes

    def __post_init__(self) -> None:
        check_part(self.namespace)

    @classmethod
    def of(cls, text: str, *, namespace: str) -> ApiKey:
        """Return the entry that admits the API key ``text`` to ``namespace``."""
        if not _API_KEY.fullmatch(text):
            raise MalformedError("an api key is gh_ and 43 characters of base64url")
        return cls(namespace=namespace, sha256=hashlib.sha256(text.encode("ascii")).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class PreloadedModel:
    """A model that the server loads at start-up, if its file has this SHA-256."""

    model_id: ModelId
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfiguration:
    """The limits that the server keeps, who may change its models, and which models it starts with.

    Sizes are in bytes, times in milliseconds.
    """

    max_models: int = 64
    max_model_bytes: int = 512 << 20
    max_total_model_bytes: int = 2 << 30
    max_request_bytes: int = 64 << 20
    max_concurrent_requests: int = 16
    inference_timeout_ms: int = 30_000
    upload_timeout_ms: int = 300_000
    api_keys: tuple[ApiKey, ...] = ()
    models: tuple[PreloadedModel, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> RuntimeConfiguration:
        """Return the configuration in ``data``: canonical JSON of at most 128 KiB."""
        document = Document(canonical_json.parse(data, max_size=_MAX_SIZE, max_depth=3), "configuration")
        document.constant("schema", _SCHEMA)
        configuration = cls(
            max_models=document.integer("max_models", minimum=1, maximum=100_000),
            max_model_bytes=document.integer("max_model_bytes", minimum=1),
            max_total_model_bytes=document.integer("max_total_model_bytes", minimum=1),
            max_request_bytes=document.integer("max_request_bytes", minimum=1024, maximum=(1 << 31) - 1),
            max_concurrent_requests=document.integer("max_concurrent_requests", minimum=1, maximum=4096),
            inference_timeout_ms=document.integer("inference_timeout_ms", minimum=1, maximum=86_400_000),
            upload_timeout_ms=document.integer("upload_timeout_ms", minimum=1, maximum=86_400_000),
            api_keys=tuple(
                _parse_api_key(item) for item in document.documents("api_keys", max_count=_MAX_API_KEYS)
            ),
            models=tuple(_parse_model(item) for item in document.documents("models", max_count=_MAX_MODELS)),
        )
        document.end()
        if len({key.sha256 for key in configuration.api_keys}) != len(configuration.api_keys):
            raise MalformedError("configuration.api_keys has one key twice")
        if len({model.model_id for model in configuration.models}) != len(configuration.models):
            raise MalformedError("configuration.models has one id twice")
        return configuration

    def encode(self) -> bytes:
        """Write the configuration as :meth:`parse` reads it."""
        return canonical_json.encode(
            {
                "schema": _SCHEMA,
                "max_models": self.max_models,
                "max_model_bytes": self.max_model_bytes,
                "max_total_model_bytes": self.max_total_model_bytes,
                "max_request_bytes": self.max_request_bytes,
                "max_concurrent_requests": self.max_concurrent_requests,
                "inference_timeout_ms": self.inference_timeout_ms,
                "upload_timeout_ms": self.upload_timeout_ms,
                "api_keys": [{"namespace": k.namespace, "sha256": k.sha256.hex()} for k in self.api_keys],
                "models": [_encode_model(model) for model in self.models],
            },
            max_size=_MAX_SIZE,
        )

    def namespace_of(self, api_key: str) -> str | None:
        """Return the namespace that ``api_key`` may change, or ``None`` if the key is not known.

        Takes the same time whichever key matches, and whether one does.
        """
        digest = hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()
        namespace = None
        for key in self.api_keys:
            if hmac.compare_digest(key.sha256, digest):
                namespace = key.namespace
        return namespace


def _parse_api_key(document: Document) -> ApiKey:
    key = ApiKey(namespace=document.text("namespace", max_length=63), sha256=document.digest("sha256"))
    document.end()
    return key


def _parse_model(document: Document) -> PreloadedModel:
    model_id = ModelId.parse(document.text("model_id", max_length=127))
    model = PreloadedModel(model_id=model_id, sha256=document.digest("sha256"))
    document.end()
    return model


def _encode_model(model: PreloadedModel) -> JSON:
    return {"model_id": str(model.model_id), "sha256": model.sha256.hex()}
