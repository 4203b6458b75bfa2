from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class GetEvidenceRequest(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class GetEvidenceResponse(_message.Message):
    __slots__ = ("evidence", "bundle", "receipt_public_key", "configuration")
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    evidence: bytes
    bundle: bytes
    receipt_public_key: bytes
    configuration: bytes
    def __init__(self, evidence: _Optional[bytes] = ..., bundle: _Optional[bytes] = ..., receipt_public_key: _Optional[bytes] = ..., configuration: _Optional[bytes] = ...) -> None: ...
