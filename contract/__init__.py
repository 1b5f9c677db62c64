"""What two deployables must agree on, and nothing else. Standard library only."""
