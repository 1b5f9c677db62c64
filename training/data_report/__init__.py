"""What the events look like, and whether they can be trained on."""
