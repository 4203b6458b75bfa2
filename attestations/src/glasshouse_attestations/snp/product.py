"""The processors that have SEV-SNP: how a report and a certificate name them, and their pinned roots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ..errors import MalformedError, ProductError

__all__ = ["ROOT_SHA256", "Processor", "Product"]


class Product(Enum):
    """A line of processors that has an AMD root key (ARK) of its own; the value is AMD's name for it.

    Milan is Zen 3. Genoa's root also serves its Zen 4c relatives Bergamo and Siena. Turin is Zen 5 and 5c.
    """

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"

    @classmethod
    def of_certificate(cls, name: str) -> Product:
        """Return the product of a certificate's productName, which may add a stepping (``Milan-B0``)."""
        for product in cls:
            if name == product.value or name.startswith(f"{product.value}-"):
                return product
        raise ProductError("the endorsement is for a product that has no pinned root")


# SHA-256 of the DER of each product's self-signed ARK certificate.
ROOT_SHA256: Mapping[Product, bytes] = MappingProxyType(
    {
        Product.MILAN: bytes.fromhex("69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
        Product.GENOA: bytes.fromhex("4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
        Product.TURIN: bytes.fromhex("1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Family, model and stepping, as CPUID combines them and reports from version 3 on carry them."""

    family: int
    model: int
    stepping: int

    @classmethod
    def parse(cls, text: str) -> Processor:
        """Read the six lower-case hexadecimal digits that :meth:`encode` writes."""
        if len(text) != 6 or not set(text) <= set("0123456789abcdef"):
            raise MalformedError("a processor is not six hexadecimal digits: family, model, stepping")
        family, model, stepping = bytes.fromhex(text)
        return cls(family=family, model=model, stepping=stepping)

    def encode(self) -> str:
        """Write two hexadecimal digits each of family, model and stepping."""
        return bytes((self.family, self.model, self.stepping)).hex()

    @property
    def product(self) -> Product:
        """The product whose root endorses this processor."""
        match self.family, self.model >> 4:
            case 0x19, 0x0:
                return Product.MILAN
            case 0x19, 0x1 | 0xA:
                return Product.GENOA
            case 0x1A, 0x0 | 0x1:
                return Product.TURIN
        raise ProductError(f"the processor {self.encode()} is of no product that has a pinned root")
