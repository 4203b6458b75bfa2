"""The claims of Glasshouse: statements, evidence and the wire protocol, and their verification.

Everything here is a pure function or a frozen value: bytes, keys, policy and the time are passed in, and
nothing opens a file or a socket. Each format is one module, with ``parse`` and ``encode`` as inverses.

>>> from glasshouse_attestations.keys import SigningKey
>>> from glasshouse_attestations import dsse
>>> key = SigningKey.generate()
>>> envelope = dsse.sign(b"{}", "application/json", key)
>>> dsse.verify(envelope, payload_type="application/json", trusted=[key.public_key]) == {key.public_key}
True
"""

__all__: list[str] = []
