"""Telling people how a run ended: a topic of SNS, and Slack where a webhook is set."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import boto3
import requests
from botocore.exceptions import BotoCoreError, ClientError

from tasks.deployment import Deployment
from training.errors import UserError

# SNS takes so many characters, and no line break.
MAX_SUBJECT_LENGTH: Final = 100
_SLACK_SECONDS: Final = 10


class NotificationError(UserError):
    """Somebody could not be told; the message says who, and why."""


@dataclass(frozen=True)
class Notification:
    """What people read."""

    subject: str
    text: str

    @property
    def headline(self) -> str:
        """The subject as SNS takes it."""
        line = " ".join(self.subject.split())
        return line if len(line) <= MAX_SUBJECT_LENGTH else f"{line[: MAX_SUBJECT_LENGTH - 1]}…"


def failure(
    deployment: Deployment, *, dag: str, task: str | None, reason: str, log_url: str | None
) -> Notification:
    """A run that a person has to look at."""
    lines = [
        f"Step: {task}" if task else None,
        f"Reason: {reason}",
        f"Log: {log_url}" if log_url else None,
        "What is served stays as it was, unless the reason says otherwise.",
        f"What to do: docs/runbook.md#{dag}",
    ]
    where = f"{deployment.prefix} {dag}"
    return Notification(
        f"{where} failed at {task}" if task else f"{where} failed", "\n".join(filter(None, lines))
    )


def success(deployment: Deployment, *, dag: str, what: str, figures: Mapping[str, Any]) -> Notification:
    """A run that went well, with its figures, a line each."""
    lines = [f"{name}: {shown(value)}" for name, value in figures.items() if value is not None]
    return Notification(f"{deployment.prefix} {dag}: {what}", "\n".join(lines))


def shown(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def send(deployment: Deployment, notification: Notification) -> list[str]:
    """Tell everybody who is to be told; who that was.

    Raises NotificationError where one could not be; the others were.
    """
    told, problems = [], []
    for name, tell in (("sns", _tell_topic), ("slack", _tell_slack)):
        try:
            if tell(deployment, notification):
                told.append(name)
        except (BotoCoreError, ClientError, OSError, NotificationError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise NotificationError(f"not told: {'; '.join(problems)}: {notification.headline}")
    return told


def _tell_topic(deployment: Deployment, notification: Notification) -> bool:
    if deployment.notification_topic is None:
        return False
    boto3.client("sns", region_name=deployment.region).publish(
        TopicArn=deployment.notification_topic,
        # Other letters than ASCII are refused there.
        Subject=notification.headline.encode("ascii", "replace").decode(),
        Message=f"{notification.subject}\n\n{notification.text}",
    )
    return True


def _tell_slack(deployment: Deployment, notification: Notification) -> bool:
    if deployment.slack_webhook_secret is None:
        return False
    secrets = boto3.client("secretsmanager", region_name=deployment.region)
    url = secrets.get_secret_value(SecretId=deployment.slack_webhook_secret)["SecretString"]
    text = f"*{notification.subject}*\n{notification.text}"
    answer = requests.post(url, json={"text": text}, timeout=_SLACK_SECONDS)
    if answer.status_code != HTTPStatus.OK:
        raise NotificationError(f"the webhook answered {answer.status_code} {answer.text[:200]}")
    return True
