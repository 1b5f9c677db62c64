"""What the project claims about its speed, measured against a peer or a limit in one run."""
