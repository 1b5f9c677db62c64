"""Where hyperparameters come from: defaults, then a TOML file, then the command line; the later wins."""

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from training.errors import BadInputError
from training.settings import Hyperparameters

DEFAULT: Final = "default"
SET: Final = "--set"


@dataclass(frozen=True)
class Source:
    """Some hyperparameters, and the place that people know them from."""

    place: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Hyperparameters, and where each came from."""

    values: Hyperparameters
    places: Mapping[str, str] = field(default_factory=dict)
    """Of those that aren't defaults."""

    def place(self, name: str) -> str:
        """Where a hyperparameter came from."""
        return self.places.get(name, DEFAULT)


def merged(sources: Sequence[Source]) -> Settings:
    """What the sources say together; of two that name the same the later one wins.

    Raises BadInputError that tells all problems, each with its source.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for source in sources:
        values |= source.values
        places |= dict.fromkeys(source.values, source.place)
    return Settings(Hyperparameters.of(values, places), places)


def read_settings_file(path: Path) -> Source:
    """A flat TOML file of `name = value`; values are native, or strings as on the command line.

    Raises BadInputError where it can't be read, isn't TOML (with the line) or isn't flat.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadInputError(f"{path}: is not TOML: line {line} is not UTF-8") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = f"at line {text.rstrip().count(chr(10)) + 1}, where the file ends"
        told = str(error).replace("at end of document", last)
        raise BadInputError(f"{path}: is not TOML: {told}") from error
    return Source(str(path), {name: _native(path, name, value) for name, value in values.items()})


def _native(path: Path, name: str, value: Any) -> Any:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        raise BadInputError(
            f"{path}: {name} is a table; expected lines of name = value without tables or dots in names, "
            "as in als_factors = 64"
        )
    return value.isoformat() if isinstance(value, date) else value


def toml_value(value: Any) -> str:
    """A hyperparameter's value as TOML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        # A string of JSON is one of TOML, but for the one control character that JSON doesn't escape.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """`--settings` and `--set`."""
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="hyperparameters, as TOML: lines of name = value"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_named_value,
        metavar="NAME=VALUE",
        help="any hyperparameter of the training; wins over the file",
    )


def settings_of(
    options: argparse.Namespace,
    *,
    below_set: Sequence[Source] = (),
    above_set: Sequence[Source] = (),
) -> Settings:
    """Defaults, the file of `--settings`, and `--set`, by the options of `add_settings_options`.

    A program's own options come between file and `--set`, or win over both.
    Raises BadInputError that names all problems, each with its source.
    """
    return merged([*_of_file(options), *below_set, Source(SET, dict(options.set)), *above_set])


def settings_of_file(options: argparse.Namespace) -> Settings:
    """Defaults, and the file of `--settings` alone."""
    return merged(_of_file(options))


def _of_file(options: argparse.Namespace) -> list[Source]:
    return [read_settings_file(options.settings)] if options.settings else []


def _named_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} isn't NAME=VALUE")
    return name.strip(), value
