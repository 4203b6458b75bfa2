"""Fixtures of the launcher's tests: images to launch."""

from support.image import enclave_image
from support.launched import probe_image_path

__all__ = ["enclave_image", "probe_image_path"]
