"""What can go wrong while building, comparing, releasing and auditing images.

::

    glasshouse_attestations.errors
    ├── MalformedError
    │   ├── RecipeError         recipe or lock not in its format, or at odds with what it describes
    │   └── ArchiveError        a .deb or a wheel that is not safe or not what the lock names
    ├── VerificationError
    │   ├── NotReproducedError  two builds of one commit gave different images
    │   └── PublicationError    a file of a release contradicts the release statement
    └── UnavailableError
        ├── KeyFileError        a signing key or its password could not be read, written or used
        ├── RebuildError        a released commit could not be built
        ├── SourceError         the source repository cannot be used as it is
        │   ├── CommitMissingError    it does not have the released commit
        │   ├── DirtyTreeError        it has changes that no commit has
        │   └── VersionMismatchError  its distributions have another version than the release
        ├── MissingInputError   an input was not found anywhere
        ├── InputMismatchError  an input was found, but with another content than the lock says
        └── ToolError           a tool or library is missing, or has another version than the recipe names
"""

from __future__ import annotations

from glasshouse_attestations.errors import MalformedError, UnavailableError, VerificationError

__all__ = [
    "ArchiveError",
    "CommitMissingError",
    "DirtyTreeError",
    "InputMismatchError",
    "KeyFileError",
    "MissingInputError",
    "NotReproducedError",
    "PublicationError",
    "RebuildError",
    "RecipeError",
    "SourceError",
    "ToolError",
    "VersionMismatchError",
]


class RecipeError(MalformedError):
    """The recipe or a lock cannot be followed as it is written."""


class ArchiveError(MalformedError):
    """A package is unsafe to unpack, or is not the one that the lock names."""


class InputMismatchError(UnavailableError):
    """An input has another content than the lock says, so nothing can be built with it, or compared."""


class MissingInputError(UnavailableError):
    """An input of the build could not be obtained; ``hint`` says what would help."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ToolError(UnavailableError):
    """What is needed beside the inputs is not there; ``hint`` says what would help."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NotReproducedError(VerificationError):
    """Two builds of one commit gave different images, so nothing is released."""


class PublicationError(VerificationError):
    """A file of a published release is not the one that the release statement speaks of."""


class KeyFileError(UnavailableError):
    """A signing key, or the password of one, could not be read, written or used; ``hint`` may say why."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RebuildError(UnavailableError):
    """A commit could not be built, so there is nothing to compare; ``hint``, if any, says what helps."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class SourceError(UnavailableError):
    """The source repository cannot be used as it is; ``hint``, if any, says what would help."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class CommitMissingError(SourceError):
    """The source repository does not have the released commit; no other commit is taken instead."""


class DirtyTreeError(SourceError):
    """The working tree has changes that no commit has."""


class VersionMismatchError(SourceError):
    """A distribution has another version than the one to be released."""
