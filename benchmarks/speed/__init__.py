"""Ours against the plain ways, side by side: `make bench`, or `python -m benchmarks.speed --help`."""
