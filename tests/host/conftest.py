"""Fixtures of the launcher's tests: images to launch."""

from support.launched import enclave_image, launched_enclave, probe_image_path

__all__ = ["enclave_image", "launched_enclave", "probe_image_path"]
