"""Writes the dashboards as JSON, as the image of Grafana holds them: `python -m grafana.generate`."""

import json
import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards import ALL

FOLDER: Final = Path(__file__).parent / "dashboards"


def documents() -> dict[str, str]:
    """Names of files, and what they hold."""
    built = (make() for make in ALL)
    return {
        f"{str(board.uid).removeprefix('shop-')}.json": f"{json.dumps(board, cls=JSONEncoder, indent=2)}\n"
        for board in built
    }


def main() -> None:
    """Write them all."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
