"""What the person who deploys has to change; the message says what and how."""


class DeployError(Exception):
    """Nothing was synthesized."""


class ConfigError(DeployError):
    """A setting that is unknown, of the wrong type, or impossible beside the others."""


class MissingToolError(DeployError):
    """A program or a file that synthesis needs is not there."""
