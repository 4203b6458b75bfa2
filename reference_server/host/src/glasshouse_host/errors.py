"""What can go wrong when an image is launched, by class.

::

    GlasshouseError
    ├── MalformedError
    │   ├── ImageContentError       the image has no root file system that could be started
    │   └── InputFileError          a file that the operator named is not what it has to be
    └── UnavailableError
        ├── IsolationError          this machine does not allow that way to keep the image apart
        ├── EnclaveError            the server ended, or never became ready
        │   └── MachineError        the machine around it did
        ├── MissingProgramError     a program that a machine is made of is not there, or fails
        └── PlatformNotSupportedError   this version does not boot images on that platform
"""

from __future__ import annotations

from glasshouse_attestations.errors import MalformedError, PlatformNotSupportedError, UnavailableError

__all__ = [
    "EnclaveError",
    "ImageContentError",
    "InputFileError",
    "IsolationError",
    "MachineError",
    "MissingProgramError",
    "PlatformNotSupportedError",
]


class ImageContentError(MalformedError):
    """The image is well-formed, but what it unpacks to cannot be started."""


class InputFileError(MalformedError):
    """A file that the operator named is missing, too large, too open, or contradicts another one."""


class IsolationError(UnavailableError):
    """This machine does not allow a way to keep the image's userland apart from its own."""


class EnclaveError(UnavailableError):
    """The server ended, or did not become ready."""


class MachineError(EnclaveError):
    """The machine ended, or did not become ready."""


class MissingProgramError(UnavailableError):
    """A program of the system that a machine is made of is not installed, or does not do its part."""
