"""Confidential AI inference that is verified before anything is sent."""
