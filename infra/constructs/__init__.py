"""What stacks are made of: each construct owns its resources; stacks wire them and grant."""
