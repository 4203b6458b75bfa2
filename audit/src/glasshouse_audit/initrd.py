"""The ``.initrd`` section: the archive in one zstd frame, by exactly the compressor of the recipe."""

from __future__ import annotations

import io

import zstandard

from glasshouse_attestations.cpio import Archive

from .errors import ToolError
from .recipe import Recipe

__all__ = ["check_compressor", "compress"]

# More than one worker makes libzstd cut its input into jobs by size, never by timing, so the number of
# processors does not show in the output; their count is part of the recipe's meaning all the same.
_WORKERS = 2


def check_compressor(recipe: Recipe) -> None:
    """Return if this process has the recipe's compressor; raise :class:`ToolError` if not.

    Another libzstd may compress the same archive into other bytes, which would look like a tampered image.
    """
    libzstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    found = f"zstandard=={zstandard.__version__}"
    if (found, libzstd) != (recipe.compressor, recipe.libzstd):
        raise ToolError(
            f"the image needs {recipe.compressor} (libzstd {recipe.libzstd}), "
            f"found {found} (libzstd {libzstd})",
            hint=f"run: python -m pip install {recipe.compressor}",
        )


def compress(archive: Archive, recipe: Recipe) -> bytes:
    """Return ``archive`` as one zstd frame that states its size and ends in a checksum."""
    check_compressor(recipe)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        recipe.compression_level,
        source_size=archive.size,
        threads=_WORKERS,
        write_checksum=True,
        write_content_size=True,
    )
    output = io.BytesIO()
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with compressor.stream_writer(output, size=archive.size, closefd=False) as writer:
        for chunk in archive.chunks():
            writer.write(chunk)
    return output.getvalue()
