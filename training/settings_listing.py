"""Every hyperparameter told: as a table for people, as TOML for `--settings`, as JSON for SageMaker."""

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from training.commands import aligned
from training.errors import UserError
from training.settings import Hyperparameters, text_of
from training.settings_sources import Settings, add_settings_options, settings_of, toml_value

WIDTH: Final = 108


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the settings that the options give; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = settings_of(options)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{FORMATS[options.format](settings)}\n")
    return 0


def as_table(settings: Settings) -> str:
    """Name, value, where it came from and what it is, a line each."""
    rows = [
        [name, text_of(value) or "–", settings.place(name), docstring(name)]
        for name, value in settings.values
    ]
    return aligned([["name", "value", "from", "what it is"], *rows])


def as_toml(settings: Settings) -> str:
    """A file that `--settings` takes; what is absent is commented out."""
    return toml_of(settings.values)


def as_json(settings: Settings) -> str:
    """What a training job of SageMaker takes."""
    return json.dumps(settings.values.strings(), indent=2, ensure_ascii=False)


def toml_of(
    settings: Hyperparameters,
    *,
    names: Collection[str] = tuple(Hyperparameters.model_fields),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The named hyperparameters as TOML, each below its docstring; `notes` by name stand behind values."""
    return "\n\n".join(_toml_lines(name, value, notes.get(name)) for name, value in settings if name in names)


def _toml_lines(name: str, value: Any, note: str | None) -> str:
    told = commented(docstring(name))
    if value is None:
        return f"{told}\n# {name} ="
    return f"{told}\n{name} = {toml_value(value)}{f'  # {note}' if note else ''}"


def commented(text: str) -> str:
    """Text as comments of TOML."""
    return "\n".join(textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# "))


def docstring(name: str) -> str:
    """What a hyperparameter is, in one line."""
    return " ".join((Hyperparameters.model_fields[name].description or "").split())


FORMATS: Final[dict[str, Callable[[Settings], str]]] = {
    "table": as_table,
    "toml": as_toml,
    "json": as_json,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.settings",
        description="Tell every hyperparameter of the training, its value and where that came from.",
    )
    add_settings_options(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="for people, for --settings, or for SageMaker (default: %(default)s)",
    )
    return parser
