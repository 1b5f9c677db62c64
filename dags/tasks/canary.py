"""Trying a version through the real function before anybody is served by it."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contract.recommendations import CANARY_VARIANT, DEFAULT_VARIANT, ListKind
from tasks.deployment import Deployment
from training.database import connected
from training.errors import UserError

USERS: Final = 20
"""Known users that are asked for."""
ITEMS: Final = 5
LENGTH: Final = 10
# Longer than the function may take: its own time-out is the answer then.
_TIMEOUT_SECONDS: Final = 60


class CanaryError(UserError):
    """The version doesn't answer as it should; the message says all that was found."""


class FunctionError(Exception):
    """The function could not be invoked, or did not answer as an API's function does."""


@dataclass(frozen=True)
class Limits:
    """What a version has to be like to go live."""

    max_seconds: float
    """The median of its answers, as the caller sees it."""
    min_overlap: float
    """Share of a user's items, in the mean, that the live version shows, too."""


@dataclass(frozen=True)
class Question:
    """One request, and what an answer has to be like."""

    path: str
    query: Mapping[str, str]
    at_most: int = LENGTH
    may_be_empty: bool = False
    without: str | None = None
    """An item that must not be in it."""


@dataclass(frozen=True)
class Answer:
    """What the function said."""

    status: int
    document: dict[str, Any]
    seconds: float

    @property
    def items(self) -> list[str]:
        """Best first."""
        return [str(item["item_id"]) for item in self.document.get("items", ())]


class ReadFunction:
    """The function behind `GET`, invoked itself: so it answers for the canary, too."""

    def __init__(self, deployment: Deployment) -> None:
        config = Config(read_timeout=_TIMEOUT_SECONDS, retries={"total_max_attempts": 2, "mode": "standard"})
        self._client = boto3.client("lambda", region_name=deployment.region, config=config)
        self._name = deployment.read_function

    def get(self, path: str, query: Mapping[str, str]) -> Answer:
        """Ask for a path. Raises FunctionError."""
        payload = json.dumps(_event(path, query)).encode()
        started = time.perf_counter()
        try:
            told = self._client.invoke(FunctionName=self._name, Payload=payload)
            content = told["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            raise FunctionError(f"{self._name} cannot be invoked: {error}") from error
        seconds = time.perf_counter() - started
        try:
            answer = json.loads(content)
            return Answer(int(answer["statusCode"]), json.loads(answer["body"] or "{}"), seconds)
        except (ValueError, KeyError, TypeError) as error:
            raise FunctionError(f"{self._name} answered {content[:500]!r}") from error


def try_version(deployment: Deployment, version: str, limits: Limits) -> dict[str, Any]:
    """Ask for known users, an unknown one, items and filters, by the version that is loaded as the canary.

    Raises CanaryError where an answer isn't as it should be, or where `limits` are exceeded.
    """
    function = ReadFunction(deployment)
    users, items = _known(deployment, version)
    problems: list[str] = []
    seconds, overlaps = [], []
    for question in _questions(users, items):
        try:
            answer = function.get(question.path, {**question.query, "variant": CANARY_VARIANT})
        except FunctionError as error:
            problems.append(str(error))
            continue
        seconds.append(answer.seconds)
        problems += _problems(question, answer, version)
    for user in users:
        overlap = _overlap(function, user)
        if overlap is not None:
            overlaps.append(overlap)
    figures = {
        "asked": len(seconds),
        "median_seconds": median(seconds) if seconds else None,
        "slowest_seconds": max(seconds, default=None),
        "overlap": fmean(overlaps) if overlaps else None,
    }
    problems += _exceeded(figures, limits)
    if problems:
        told = "; ".join(dict.fromkeys(problems))
        raise CanaryError(f"version {version} is not fit to be live: {told}")
    return figures


def _questions(users: Sequence[str], items: Sequence[str]) -> Iterator[Question]:
    some = {"limit": str(LENGTH)}
    for user in users:
        yield Question(_of_user(user), some)
    yield Question(_of_user(f"nobody-{uuid.uuid4().hex}"), some)
    yield Question("/v1/popular", some)
    yield Question("/v1/popular", {"limit": "3"}, at_most=3)
    for item in items:
        # Nothing may be similar to an item that was seen once.
        yield Question(f"/v1/items/{quote(item, safe='')}/similar", some, may_be_empty=True)
    if users and items:
        yield Question(
            _of_user(users[0]), {**some, "exclude_items": items[0]}, may_be_empty=True, without=items[0]
        )


def _problems(question: Question, answer: Answer, version: str) -> Iterator[str]:
    # Not the path: it names a user.
    kind = "/".join(question.path.split("/")[:3])
    if answer.status != 200:
        yield f"{kind} answers {answer.status} {answer.document.get('title', '')}".rstrip()
        return
    items = answer.items
    if answer.document.get("model_version") != version:
        yield f"{kind} is answered by {answer.document.get('model_version')}"
    if not items and not question.may_be_empty:
        yield f"{kind} answers without an item"
    if len(items) > question.at_most:
        yield f"{kind} answers {len(items)} items where {question.at_most} were asked for"
    if len(set(items)) < len(items):
        yield f"{kind} answers the same item twice"
    if question.without in items:
        yield f"{kind} answers an item that was to be left out"


def _overlap(function: ReadFunction, user: str) -> float | None:
    """Share of the user's items that the live version shows, too; None where nothing is live."""
    answers = {}
    for variant in (CANARY_VARIANT, DEFAULT_VARIANT):
        try:
            answer = function.get(_of_user(user), {"limit": str(LENGTH), "variant": variant})
        except FunctionError:
            # The questions have told of it, or the live version is the one that doesn't answer.
            return None
        if answer.status != 200 or not answer.items:
            return None
        answers[variant] = set(answer.items)
    new, live = answers[CANARY_VARIANT], answers[DEFAULT_VARIANT]
    return len(new & live) / len(new)


def _exceeded(figures: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    seconds, overlap = figures["median_seconds"], figures["overlap"]
    if seconds is not None and seconds > limits.max_seconds:
        yield f"half of its answers take more than {seconds:.3f} s, at most {limits.max_seconds:g} s may be"
    if overlap is not None and overlap < limits.min_overlap:
        yield f"it shares {overlap:.1%} of its items with the live version, expected {limits.min_overlap:.1%}"


def _known(deployment: Deployment, version: str) -> tuple[list[str], list[str]]:
    """Some users who have a personal list in the version, and some items that have similar ones."""
    with connected(deployment.conninfo()) as connection:
        found = connection.execute(
            "SELECT number FROM versions WHERE name = %s AND state = 'ready'", (version,)
        ).fetchone()
        if found is None:
            raise CanaryError(f"version {version} isn't loaded: clear the task that loads it")

        def keys(kind: ListKind, most: int) -> list[str]:
            rows = connection.execute(
                "SELECT key FROM recommendations WHERE version = %s AND kind = %s ORDER BY key LIMIT %s",
                (found[0], kind, most),
            )
            return [row[0] for row in rows]

        return keys(ListKind.PERSONAL, USERS), keys(ListKind.SIMILAR, ITEMS)


def _of_user(user: str) -> str:
    return f"/v1/users/{quote(user, safe='')}/recommendations"


def _event(path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The event that API Gateway would send, but for `direct`, which only an invoker can say."""
    pairs = parse_qsl(urlencode(query))
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "GET",
        "headers": {"Host": "canary"},
        "multiValueHeaders": {"Host": ["canary"]},
        "queryStringParameters": dict(pairs),
        "multiValueQueryStringParameters": {name: [value] for name, value in pairs},
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "stage": "canary",
            "identity": {},
            "direct": True,
        },
        "body": None,
        "isBase64Encoded": False,
    }
