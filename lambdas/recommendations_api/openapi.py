"""`python -m lambdas.recommendations_api.openapi` prints what `docs/openapi.json` holds."""

import argparse
import json
import sys
from collections.abc import Sequence

from lambdas.recommendations_api.app import app


def document() -> str:
    """The OpenAPI document, the same for the same code."""
    return json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print it; the exit status."""
    argparse.ArgumentParser(
        prog="python -m lambdas.recommendations_api.openapi", description="Print the OpenAPI document."
    ).parse_args(arguments)
    sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
