"""The versions of the firmware that a platform's trust rests on (SEV-SNP Firmware ABI, 56860, 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import MalformedError
from .product import Product

__all__ = ["TCB_SIZE", "Tcb"]

TCB_SIZE = 8

# Where each component's byte stands; the bytes between are reserved and zero. Turin moved them all.
_LAYOUT = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN_LAYOUT = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcb:
    """A TCB_VERSION: one security version per component, each of which only ever grows.

    The components are independent: one TCB is at least another only if each component is. ``fmc`` exists
    from Turin on and is 0 before.
    """

    fmc: int = 0
    bootloader: int = 0
    tee: int = 0
    snp: int = 0
    microcode: int = 0

    def __post_init__(self) -> None:
        if not all(0 <= value <= 0xFF for _, value in self.components()):
            raise ValueError("a component of a TCB is one byte")

    @classmethod
    def parse(cls, data: bytes, product: Product) -> Tcb:
        """Return the TCB in these 8 bytes of a report, in the layout of ``product``."""
        if len(data) != TCB_SIZE:
            raise MalformedError(f"a TCB has {TCB_SIZE} bytes")
        tcb = cls(**{name: data[at] for name, at in _layout(product).items()})
        if tcb.encode(product) != data:
            raise MalformedError(f"a reserved byte of a TCB of {product.value} is not zero")
        return tcb

    def encode(self, product: Product) -> bytes:
        """Write the TCB as :meth:`parse` reads it."""
        layout = _layout(product)
        data = bytearray(TCB_SIZE)
        for name, value in self.components():
            if name in layout:
                data[layout[name]] = value
            elif value:
                raise ValueError(f"a TCB of {product.value} has no {name}")
        return bytes(data)

    def components(self) -> tuple[tuple[str, int], ...]:
        """Every component's name and version, in the order in which they start."""
        return (
            ("fmc", self.fmc),
            ("bootloader", self.bootloader),
            ("tee", self.tee),
            ("snp", self.snp),
            ("microcode", self.microcode),
        )

    def below(self, floor: Tcb) -> tuple[str, ...]:
        """The components that are lower than the floor's; none if this TCB is at least ``floor``."""
        pairs = zip(self.components(), floor.components(), strict=True)
        return tuple(name for (name, value), (_, minimum) in pairs if value < minimum)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.components())


def _layout(product: Product) -> dict[str, int]:
    return _TURIN_LAYOUT if product is Product.TURIN else _LAYOUT
