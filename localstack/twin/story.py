"""What the demo says: short and readable, on a terminal and in a log."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


class Story:
    """Tells the demo's steps, and times them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}
        self.current = "start"

    @contextlib.contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """A step with its title; a spinner while it lasts, and its time when it is over."""
        self.current = name
        started = time.monotonic()
        with self.console.status(f"{title} …") if self.console.is_terminal else contextlib.nullcontext():
            if not self.console.is_terminal:
                self.console.print(f"{title} …")
            yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        if self.console.is_terminal:
            self.console.print(f"[bold]{title}[/bold] ({self.seconds[name]:.1f} s)", highlight=False)
        else:
            self.say(f"took {self.seconds[name]:.1f} s")

    def say(self, line: str) -> None:
        """One line below the step."""
        self.console.print(f"  {line}", highlight=False, markup=False)

    def evaluation(self, evaluation: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
        """Precision and recall of what is served beside popularity."""
        if not any(evaluation.values()):
            self.say("not evaluated: the events span too short a time to hold some of it out")
            return
        table = Table(box=None, padding=(0, 2))
        for heading in ("protocol", "model", "users"):
            table.add_column(heading, justify="right" if heading == "users" else "left")
        for heading in ("precision@10", "recall@10"):
            table.add_column(heading, justify="right")
        for protocol, models in evaluation.items():
            for model, metrics in models.items():
                numbers = [f"{metrics.get(name, 0.0):.4f}" for name in ("precision@10", "recall@10")]
                table.add_row(protocol, model, f"{metrics['users']:.0f}", *numbers)
        self.console.print(table)

    def visitor(self, user_id: str, did: Sequence[tuple[str, str]], answer: Mapping[str, Any]) -> None:
        """What one user did lately, and what they would now be shown."""
        self._did(f"{user_id} did, newest first:", did, answer)

    def returning(self, user_id: str, did: tuple[str, str], answer: Mapping[str, Any]) -> None:
        """What a user did a moment ago, and what they are shown at once."""
        self._did(f"{user_id} comes back:", [did], answer)

    def _did(self, beginning: str, did: Sequence[tuple[str, str]], answer: Mapping[str, Any]) -> None:
        self.say(f"{beginning} {', '.join(f'{kind} {item}' for kind, item in did) or 'nothing'}")
        shown = ", ".join(f"{item['item_id']} ({item['source']})" for item in answer["items"])
        self.say(f"  → {answer['source']}: {shown}")
