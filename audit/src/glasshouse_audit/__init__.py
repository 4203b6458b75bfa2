"""Builds, measures, reproduces, compares, signs and releases the enclave image."""
