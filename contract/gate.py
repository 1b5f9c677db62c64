"""What the gate says about a new version: `gate.json`, written by the training, read by whoever loads.

Only what another program needs to act on; the rest of the document is for people.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

GATE_NAME: Final = "gate.json"
GATE_SCHEMA_VERSION: Final = 1


class Outcome(StrEnum):
    """What becomes of a new version."""

    PROMOTED = "promoted"
    """It is published, and is to be loaded."""
    KEPT = "kept"
    """What is served stays, because it is better. Nothing is published."""
    REJECTED = "rejected"
    """The new version isn't fit to be served, whatever is served now. Nothing is published."""


class GateDecisionError(ValueError):
    """A `gate.json` that this code cannot read."""


@dataclass(frozen=True)
class GateDecision:
    """The gate's decision about one version."""

    version: str
    outcome: Outcome
    reason: str
    """One sentence in plain language, with the figures."""

    @classmethod
    def from_json(cls, text: str | bytes) -> "GateDecision":
        """Read a decision back; fields beside the three are passed over.

        Raises GateDecisionError where it is no JSON, of another schema version, or lacks one of the three.
        """
        try:
            document: Any = json.loads(text)
        except ValueError as error:
            raise GateDecisionError(f"the gate's decision is not JSON: {error}") from error
        if not isinstance(document, dict) or document.get("schema_version") != GATE_SCHEMA_VERSION:
            raise GateDecisionError(
                f"the gate's decision is no object of schema version {GATE_SCHEMA_VERSION}: "
                "read it with the code that wrote it"
            )
        for name in ("version", "outcome", "reason"):
            if not isinstance(document.get(name), str):
                raise GateDecisionError(f"the gate's decision has no text as its {name}")
        try:
            outcome = Outcome(document["outcome"])
        except ValueError as error:
            raise GateDecisionError(
                f"the gate's outcome is {document['outcome']!r}, expected one of {', '.join(Outcome)}"
            ) from error
        return cls(document["version"], outcome, document["reason"])
