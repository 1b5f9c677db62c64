"""What the set-up cannot do, and what to do about it."""


class SetUpError(Exception):
    """A step of the set-up failed: which, why, and the way on. The schema is as it was."""
