"""What is known of a user, an item and the two together at a moment, for the ranker to judge by."""
