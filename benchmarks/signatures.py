"""How long one check of a signature takes: most of what verification does, and so its baseline.

Each is measured anew, right beside what it is compared with: a busy machine then slows both.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from .measured import seconds

__all__ = ["BASELINES", "p256", "p384", "rsa2048"]

_MESSAGE = b"message"


def p256() -> float:
    """Return the seconds of one check with ECDSA over P-256, as it is at this moment."""
    return _ecdsa(ec.SECP256R1)


def p384() -> float:
    """Return the seconds of one check with ECDSA over P-384, as it is at this moment."""
    return _ecdsa(ec.SECP384R1)


def rsa2048() -> float:
    """Return the seconds of one check with RSA of 2,048 bits, as it is at this moment."""
    key = rsa.generate_private_key(65537, 2048)
    signed = key.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    public = key.public_key()
    return seconds(lambda: public.verify(signed, _MESSAGE, padding.PKCS1v15(), hashes.SHA256()), repeat=50)


BASELINES = {"P-256": p256, "P-384": p384, "RSA-2048": rsa2048}


def _ecdsa(curve: type[ec.EllipticCurve]) -> float:
    key = ec.generate_private_key(curve())
    signed = key.sign(_MESSAGE, ec.ECDSA(hashes.SHA384()))
    public = key.public_key()
    return seconds(lambda: public.verify(signed, _MESSAGE, ec.ECDSA(hashes.SHA384())), repeat=50)
