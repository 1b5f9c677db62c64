"""Alertmanager: who is told of what, what only repeats another alert, and that a message arrives."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from twin.monitoring import ALERTMANAGER, find_program
from twin.processes import LOOPBACK, Server, answers, free_port
from twin.s3 import REGION, aws_environment

from tests.grafana.promql import ROOT, alerts

CONFIG = ROOT / "grafana/alertmanager/alertmanager.yml"
ALERTS = alerts()
DEADLINE_SECONDS = 60
amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="this machine has no amtool")


@amtool
def test_alertmanager_takes_the_configuration() -> None:
    told = subprocess.run(["amtool", "check-config", CONFIG], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@amtool
@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_goes_where_its_severity_says(name: str) -> None:
    severity = ALERTS[name]["labels"]["severity"]
    told = subprocess.run(
        [
            "amtool",
            "config",
            "routes",
            "test",
            "--config.file",
            CONFIG,
            f"alertname={name}",
            f"severity={severity}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == {"none": "heartbeat"}.get(severity, severity)


def test_what_inhibits_and_what_is_inhibited_are_alerts_that_there_are() -> None:
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, operator, value = matcher.strip().split(" ", 2)
            if label == "alertname":
                for pattern in value.strip('"').split("|") if operator == "=~" else [value.strip('"')]:
                    start = pattern.removeprefix(".+").removesuffix(".+")
                    assert [name for name in ALERTS if start in name], matcher


class Alertmanager:
    """A real one with the repository's configuration, whose messages go to a real SNS API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, *labels: Mapping[str, str]) -> None:
        """What Prometheus sends of alerts that fire."""
        now = datetime.now(UTC)
        body = [
            {
                "labels": {"stage": "test", **each},
                "annotations": {
                    "summary": f"summary of {each['alertname']}",
                    "description": "what it is",
                    "runbook_url": f"docs/runbook.md#{each['alertname'].lower()}",
                },
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
            }
            for each in labels
        ]
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.port}/api/v2/alerts",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def silent(self, stage: str) -> set[str]:
        """Names of a stage's alerts that others inhibit."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/api/v2/alerts", timeout=10) as response:
            found = json.load(response)
        inhibited = [each["labels"] for each in found if each["status"]["inhibitedBy"]]
        return {labels["alertname"] for labels in inhibited if labels["stage"] == stage}


@pytest.fixture(scope="module")
def topics(s3_server: str) -> dict[str, str]:
    """Topics by name, and queues that listen to them by name and `Queue`."""
    arguments = {"endpoint_url": s3_server, "region_name": REGION}
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    sns = boto3.client("sns", **arguments, **keys)
    sqs = boto3.client("sqs", **arguments, **keys)
    found = {}
    for name in ("people", "heartbeat"):
        found[name] = sns.create_topic(Name=name)["TopicArn"]
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=found[name], Protocol="sqs", Endpoint=arn)
        found[f"{name}Queue"] = queue
    return found


@pytest.fixture(scope="module")
def alertmanager(
    s3_server: str, topics: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory, logs: Path
) -> Iterator[Alertmanager]:
    program = find_program(ALERTMANAGER)
    if program is None:
        pytest.skip("this machine has no prometheus-alertmanager")
    folder, port = tmp_path_factory.mktemp("alertmanager"), free_port()
    text = CONFIG.read_text()
    for placeholder, value in {
        ": TOPIC\n": f": {topics['people']}\n        api_url: {s3_server}\n",
        ": HEARTBEAT\n": f": {topics['heartbeat']}\n        api_url: {s3_server}\n",
        "region: REGION": f"region: {REGION}",
        "group_wait: 30s": "group_wait: 0s",
        "group_wait: 1m": "group_wait: 0s",
    }.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    (folder / "alertmanager.yml").write_text(text)
    command: list[str | Path] = [
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
    ]
    environment = {"PATH": os.defpath, **aws_environment(s3_server)}
    with Server("Alertmanager", command, log=logs / "alertmanager.log", environment=environment) as server:
        server.wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/-/ready"), timeout=60)
        yield Alertmanager(port)


def messages(s3_server: str, queue: str, count: int) -> list[dict[str, Any]]:
    """What SNS delivered: as many messages as are waited for."""
    sqs = boto3.client(
        "sqs",
        endpoint_url=s3_server,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < count:
        assert time.monotonic() < deadline, found
        received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        found += [json.loads(each["Body"]) for each in received.get("Messages", [])]
    return found


def test_a_page_and_a_ticket_arrive_with_severity_subject_and_section(
    alertmanager: Alertmanager, topics: Mapping[str, str], s3_server: str
) -> None:
    alertmanager.post(
        {"alertname": "EverybodyGetsPopular", "severity": "page"},
        {"alertname": "RowsRejected", "severity": "ticket"},
        {"alertname": "Watchdog", "severity": "none"},
    )
    told = messages(s3_server, topics["peopleQueue"], 2)
    by_severity = {each["MessageAttributes"]["severity"]["Value"]: each for each in told}
    assert by_severity["page"]["Subject"] == "[firing] page, test: summary of EverybodyGetsPopular"
    assert "docs/runbook.md#everybodygetspopular" in by_severity["page"]["Message"]
    assert by_severity["ticket"]["Subject"] == "[firing] ticket, test: summary of RowsRejected"
    (heartbeat,) = messages(s3_server, topics["heartbeatQueue"], 1)
    assert heartbeat["Subject"] == "Watchdog"


@pytest.mark.parametrize(
    ("source", "inhibited", "heard"),
    [
        (
            "DatabaseUnreachable",
            ["DegradedBurnsFast", "AvailabilityBurnsFast", "HousekeepingPartFailed", "EverybodyGetsPopular"],
            ["RetrainFailed", "TargetDown", "EventsRejected"],
        ),
        ("AvailabilityBurnsFast", ["AvailabilityBurnsSlowly"], ["LatencyBurnsSlowly"]),
        ("RetrainFailed", ["RetrainLate", "ModelOld"], ["EventsUnexported"]),
        ("CanaryFailed", ["RetrainFailed"], ["LoadFailed"]),
    ],
)
def test_an_alert_that_says_it_all_keeps_those_that_repeat_it_quiet(
    alertmanager: Alertmanager, source: str, inhibited: Sequence[str], heard: Sequence[str]
) -> None:
    def labels(name: str) -> dict[str, str]:
        slo = {"slo": name.partition("Burns")[0].lower()} if "Burns" in name else {}
        return {"alertname": name, **ALERTS[name]["labels"], **slo, "stage": source}

    alertmanager.post(*(labels(name) for name in (source, *inhibited, *heard)))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not set(inhibited) <= alertmanager.silent(source):
        assert time.monotonic() < deadline, alertmanager.silent(source)
        time.sleep(0.05)
    assert not {source, *heard} & alertmanager.silent(source)
