"""Quality: what is served against external peers, on one split of one shop's events, in one run."""
