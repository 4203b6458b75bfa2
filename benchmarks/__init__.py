"""Times, sizes and memory, each against a bound or a baseline of the same run: ``python -m benchmarks``."""
