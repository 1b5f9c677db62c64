"""The extensions of one execution environment, and what the Extensions API lets them do.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

An external extension is a process of its own, from a layer; an internal one is a part of the function's
process. Whoever registers under the name of an external extension's file is that one.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lambda_executor.connection import Connection

MOST = 10
"""Extensions that an environment may have."""

_INVOKE = "INVOKE"
_SHUTDOWN = "SHUTDOWN"


class RefusedError(Exception):
    """A request that Lambda answers with 403: the type of the error, and a message."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass(eq=False)
class Extension:
    """One that has registered."""

    name: str
    events: frozenset[str]
    is_external: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    waiting: Connection | None = None
    """Where its request for the next event waits."""

    @property
    def takes_invocations(self) -> bool:
        """Whether it is told of each invocation."""
        return _INVOKE in self.events

    @property
    def takes_shutdown(self) -> bool:
        """Whether it is told of the end; others are killed."""
        return _SHUTDOWN in self.events


class Extensions:
    """All of one environment. Not for several threads at once."""

    def __init__(self, external: Iterable[str]) -> None:
        self._external = frozenset(external)
        self._registered: dict[str, Extension] = {}
        self.is_registration_open = True

    @property
    def registered(self) -> list[Extension]:
        """In the order of their registration."""
        return list(self._registered.values())

    @property
    def are_external_registered(self) -> bool:
        """Whether the runtime may start."""
        return self._external <= {extension.name for extension in self._registered.values()}

    def register(self, headers: Mapping[str, str], body: bytes) -> Extension:
        """Take an extension in. Raises RefusedError."""
        name = headers.get("lambda-extension-name")
        if not name:
            raise RefusedError("Extension.InvalidExtensionName", "Empty extension name")
        events = _events(body)
        is_external = name in self._external
        for event in events:
            _check_event(event, is_external=is_external)
        if not is_external and not self.is_registration_open:
            raise RefusedError("Extension.RegistrationClosed", "Extension registration closed already")
        if any(extension.name == name for extension in self._registered.values()):
            raise RefusedError(
                "Extension.InvalidExtensionState", "Extension with this name already registered"
            )
        if len(self._registered) >= MOST:
            raise RefusedError("Extension.TooManyExtensions", f"Extension limit ({MOST}) reached")
        extension = Extension(name, frozenset(events), is_external)
        self._registered[extension.id] = extension
        return extension

    def identified(self, headers: Mapping[str, str]) -> Extension:
        """Whose request this is. Raises RefusedError."""
        identifier = identifier_in(headers)
        try:
            return self._registered[identifier]
        except KeyError:
            raise RefusedError(
                "Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}"
            ) from None

    def are_ready(self, *, is_first: bool) -> bool:
        """Whether an invocation may begin.

        The first waits until each extension has asked for an event, the later ones until those have
        that are told of them.
        """
        return all(
            extension.waiting is not None
            for extension in self._registered.values()
            if is_first or extension.takes_invocations
        )

    def forget(self, connection: Connection) -> None:
        """Nobody waits in this connection any more."""
        for extension in self._registered.values():
            if extension.waiting is connection:
                extension.waiting = None


def identifier_in(headers: Mapping[str, str]) -> str:
    """What an extension was given when it registered. Raises RefusedError."""
    identifier = headers.get("lambda-extension-identifier")
    if not identifier:
        raise RefusedError(
            "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"
        )
    try:
        uuid.UUID(identifier)
    except ValueError:
        raise RefusedError(
            "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"
        ) from None
    return identifier


def _events(body: bytes) -> list[str]:
    try:
        events = json.loads(body).get("events") or []
    except (ValueError, AttributeError) as error:
        raise RefusedError("InvalidRequestFormat", f"the body is no JSON object: {error}") from None
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise RefusedError("InvalidRequestFormat", "events is not a list of strings")
    return events


def _check_event(event: str, *, is_external: bool) -> None:
    if event == _SHUTDOWN and not is_external:
        reason = "ShutdownEventNotSupportedForInternalExtension"
    elif event not in {_INVOKE, _SHUTDOWN}:
        reason = "ErrorInvalidEventType"
    else:
        return
    raise RefusedError("Extension.InvalidEventType", f"{event}: {reason}")
