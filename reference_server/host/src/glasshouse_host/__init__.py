"""The operator's launcher: measures an image and boots it on a platform."""
