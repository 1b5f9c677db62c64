"""What can go wrong with the local parts."""


class ServerError(Exception):
    """A server that did not start; the message says why and where its log is."""


class MissingProgramError(Exception):
    """A program that this machine lacks; the message says how to get it."""
