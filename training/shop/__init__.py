"""A simulated shop: its items, its people, and what they do day by day."""
