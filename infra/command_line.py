"""What the programs here have in common: what they need, and how settings are given to them."""

import os
import shutil
from collections.abc import Sequence

from infra.errors import ConfigError, MissingToolError


def require_node() -> None:
    """Raises MissingToolError where the CDK's other half has nothing to run on.

    To be asked before the CDK is imported, which starts it.
    """
    if not shutil.which(os.environ.get("JSII_NODE", "node")):
        raise MissingToolError(
            "there is no Node, which the CDK runs on: `make setup` installs one; or put node on PATH"
        )


def settings_of(pairs: Sequence[str]) -> dict[str, str]:
    """What was given as `-c NAME=VALUE`. Raises ConfigError."""
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"-c {pair}: expected NAME=VALUE")
        settings[name] = value
    return settings
