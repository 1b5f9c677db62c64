"""Visitors whose habits are known, to see whether the metrics find them out: `make simulate`."""
