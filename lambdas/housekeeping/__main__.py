"""`python -m lambdas.housekeeping`: one run here, as the environment's variables say."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from lambdas.housekeeping.run import Run
from lambdas.housekeeping.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once and print what was done and found as JSON; the exit status."""
    argparse.ArgumentParser(
        prog="python -m lambdas.housekeeping",
        description="Run housekeeping once, as the environment's variables say.",
    ).parse_args(arguments)
    # Standard output belongs to the document.
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    report = Run(settings)()
    sys.stdout.write(f"{json.dumps(report.document(), indent=2)}\n")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
