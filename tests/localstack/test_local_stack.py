"""The whole cloud on this machine: deployed by the real command line, and called over HTTP."""

import contextlib
import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from twin.cloud.calls import Api, Call, call_every_route
from twin.cloud.clients import client
from twin.cloud.deployment import Deployment, DeploymentError, deploy, destroy
from twin.cloud.known import known
from twin.cloud.parts import Parts
from twin.cloud.resources import honesty
from twin.cloud.traffic import send_many

from contract.events import VIEW
from contract.routes import SCOPES
from tests.training.published import publish
from training.loader import load_version
from training.serving import rollback
from training.storage import Folder

README = Path(__file__).parents[2] / "localstack/README.md"


@contextlib.contextmanager
def connected(deployment: Deployment) -> Iterator[Api]:
    with contextlib.closing(Api(deployment.api_url())) as api:
        yield api


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


def log_lines(parts: Parts, group: str) -> list[str]:
    with client(parts.endpoint, "logs") as logs:
        found = logs.filter_log_events(logGroupName=group, limit=10_000)
    return [event["message"] for event in found["events"]]


def get(path: str) -> Call:
    return Call(("GET", path), "read", path)


def test_a_deployment_from_nothing_makes_every_stack(deployment: Deployment) -> None:
    nouns = ("alarms", "api", "data", "monitoring", "network", "orchestration", "training")
    assert deployment.stacks == [f"shop-local-{noun}" for noun in nouns]
    with client(deployment.parts.endpoint, "cloudformation") as cloudformation:
        stacks = [cloudformation.describe_stacks(StackName=name)["Stacks"][0] for name in deployment.stacks]
    assert {stack["StackStatus"] for stack in stacks} == {"CREATE_COMPLETE"}


def test_the_readme_says_of_every_resource_how_real_it_is(deployment: Deployment) -> None:
    told = dict(re.findall(r"^\| `([A-Z]\w+::[\w:]+)` \| (\w+) \|", README.read_text(), re.MULTILINE))
    assert told == {resource.kind: honesty(resource) for resource in deployment.resources}


def test_the_migration_has_made_the_schema_and_the_roles(deployment: Deployment) -> None:
    with psycopg.connect(deployment.parts.database_url) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        connection.execute("SELECT FROM serving, recommendations, events LIMIT 1")
    assert {"api_read", "api_write", "housekeeping", "retrain", "mlflow"} <= roles
    assert "mlflow" in databases


def test_airflow_would_find_documents_that_say_where_everything_is(deployment: Deployment) -> None:
    described = deployment.described()
    assert described["events_uri"] == f"s3://{deployment.bucket('Events')}"
    assert described["pushgateway_url"] == deployment.parts.pushgateway_url
    with client(deployment.parts.endpoint, "s3") as s3:
        found = s3.get_object(Bucket=deployment.bucket("Dags"), Key="dags/training_job.json")
        job = json.loads(found["Body"].read())
    assert job["Environment"]["MLFLOW_TRACKING_URI"] == deployment.parts.mlflow_uri
    assert job["OutputDataConfig"]["S3OutputPath"].startswith(f"s3://{deployment.bucket('Recommendations')}/")


def test_every_route_answers_as_its_scope_demands(deployment: Deployment, version: str) -> None:
    user, item = known(deployment.parts.database_url)
    called = call_every_route(deployment, user=user, item=item).summary()
    assert called.keys() == {" ".join(route) for route in SCOPES}
    assert called["GET /v1/popular"] == {"without a key": {"403": 1}, "with the key": {"200": 1}}
    assert called["GET /health"] == {"without a key": {"200": 1}, "with the key": {"200": 1}}


def test_a_wrong_key_is_no_key(deployment: Deployment) -> None:
    with connected(deployment) as api:
        assert api.send(get("/v1/popular"), "not-the-key-but-as-long-as-keys-are")[0] == 403


def test_the_version_that_was_trained_here_answers(deployment: Deployment, version: str) -> None:
    user, _ = known(deployment.parts.database_url)
    with connected(deployment) as api:
        status, content = api.send(get(f"/v1/users/{user}/recommendations"), deployment.api_key())
    answer = json.loads(content)
    assert (status, answer["model_version"], answer["source"]) == (200, version, "personalized")
    assert answer["items"]


def test_an_event_that_is_posted_changes_the_next_answer(deployment: Deployment, version: str) -> None:
    _, item = known(deployment.parts.database_url)
    key, asked = deployment.api_key(), get("/v1/users/a-new-visitor/recommendations")
    event = {"user_id": "a-new-visitor", "item_id": item, "event_type": VIEW}
    with connected(deployment) as api:
        before = json.loads(api.send(asked, key)[1])
        post = Call(("POST", "/v1/events"), "write", "/v1/events", {"events": [event]})
        assert api.send(post, key)[0] == 202
        after = json.loads(api.send(asked, key)[1])
    assert (before["source"], after["source"]) == ("popular", "session")
    assert f"viewed:{item}" in str(after) or item in str(after["items"])


def test_a_swap_of_versions_is_seen_at_once(deployment: Deployment, version: str, tmp_path: Path) -> None:
    url, key = deployment.parts.database_url, deployment.api_key()
    publish(Folder(tmp_path), "swapped")
    with connected(deployment) as api:

        def told() -> tuple[str, str]:
            recommended = json.loads(api.send(get("/v1/users/u0/recommendations"), key)[1])
            (variant,) = json.loads(api.send(get("/v1/model"), key)[1])["variants"]
            return recommended["model_version"], variant["model_version"]

        assert told() == (version, version)
        load_version(url, Folder(tmp_path), "swapped")
        assert told() == ("swapped", "swapped")
        rollback(url)
        assert told() == (version, version)


def test_what_a_function_logs_is_in_cloudwatch_logs(deployment: Deployment) -> None:
    with connected(deployment) as api:
        trace_id = json.loads(api.send(get("/v1/users/%00/recommendations"), deployment.api_key())[1])[
            "trace_id"
        ]
    group = "/aws/lambda/shop-local-api-read"
    until(lambda: any(trace_id in line for line in log_lines(deployment.parts, group)))
    lines = log_lines(deployment.parts, group)
    assert any(line.startswith("START RequestId: ") for line in lines)
    assert any(line.startswith("REPORT RequestId: ") for line in lines)


def test_what_a_training_logs_is_in_cloudwatch_logs(deployment: Deployment, version: str) -> None:
    lines = log_lines(deployment.parts, "/aws/sagemaker/TrainingJobs")
    assert any("event=evaluated" in line for line in lines)


def test_functions_push_their_numbers_to_the_pushgateway(deployment: Deployment) -> None:
    url = deployment.parts.pushgateway_url
    if url is None:
        pytest.skip("there is no pushgateway on this machine")
    with connected(deployment) as api:
        api.send(get("/v1/popular"), deployment.api_key())

    def pushed() -> bool:
        with urllib.request.urlopen(f"{url}/metrics") as response:
            return "shop_api_cold_starts_total{" in response.read().decode()

    until(pushed)


def test_nothing_of_it_listens_beyond_loopback(deployment: Deployment) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("who listens where, Linux alone tells")
    ours = {int(url.rsplit(":", 1)[1].split("/")[0]) for url in _urls(deployment.parts)}
    elsewhere = [address for address, port in listening() if port in ours and address != "0100007F"]
    assert len(ours) >= 4
    assert not elsewhere


def _urls(parts: Parts) -> list[str]:
    urls = (parts.endpoint, parts.sagemaker, parts.database_url, parts.mlflow_uri)
    return [*urls, *filter(None, (parts.pushgateway_url, parts.prometheus_url))]


def listening() -> Iterator[tuple[str, int]]:
    """Address, as the kernel writes it, and port of every socket that waits for connections."""
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            if state == "0A":
                address, port = local.split(":")
                yield address, int(port, 16)


def test_a_second_deployment_changes_nothing(deployment: Deployment) -> None:
    before = events(deployment)
    deploy(deployment.parts)
    assert events(deployment) == before


@pytest.mark.slow
def test_a_changed_setting_is_live_after_the_next_deployment(deployment: Deployment, version: str) -> None:
    deploy(deployment.parts, {"throttle_rate": "50", "function_memory_mb": "512"})
    name = "shop-local-api-read"
    with client(deployment.parts.endpoint, "lambda") as functions:
        version = published(deployment.parts)[name]
        told = functions.get_function_configuration(FunctionName=name, Qualifier=version)
    assert told["MemorySize"] == 512
    with connected(deployment) as api:
        assert api.send(get("/v1/popular"), deployment.api_key())[0] == 200
    deploy(deployment.parts)


def events(deployment: Deployment) -> Counter[str]:
    """How many events each stack has."""
    with client(deployment.parts.endpoint, "cloudformation") as cloudformation:
        paginator = cloudformation.get_paginator("describe_stack_events")
        return Counter(
            {
                name: sum(len(page["StackEvents"]) for page in paginator.paginate(StackName=name))
                for name in deployment.stacks
            }
        )


@pytest.mark.slow
def test_a_migration_that_fails_fails_the_deployment_and_the_api_goes_on(
    deployment: Deployment, version: str
) -> None:
    parts = deployment.parts
    before = published(parts)
    secret = {"username": "postgres", "password": "x", "host": "127.0.0.1", "port": 1, "dbname": "shop"}
    with client(parts.endpoint, "secretsmanager") as secrets:
        secrets.create_secret(Name="broken/database", SecretString=json.dumps(secret))
    with pytest.raises(DeploymentError, match="connection to server at .* port 1 failed"):
        deploy(parts, {"database_secret": "broken/database"})
    assert published(parts) == before
    with connected(deployment) as api:
        assert api.send(get("/v1/popular"), deployment.api_key())[0] == 200
    with client(parts.endpoint, "lambda") as functions:
        told = functions.get_function_configuration(FunctionName="shop-local-migrate-database")
    # It is what it was before.
    assert told["Environment"]["Variables"]["DATABASE_SECRET"] == "shop-local/database"
    deploy(parts, {"function_memory_mb": "768"})
    assert published(parts) != before


def published(parts: Parts) -> Any:
    """Which version of the API's functions is live."""
    with client(parts.endpoint, "lambda") as functions:
        return {
            name: functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
            for name in ("shop-local-api-read", "shop-local-api-write")
        }


@pytest.mark.slow
def test_a_thousand_requests_over_eight_threads_are_all_answered(
    deployment: Deployment, version: str
) -> None:
    user, item = known(deployment.parts.database_url)
    told = send_many(deployment, user=user, item=item)
    assert (told["statuses"], told["threads"]) == ({"200": 1000}, 8)


@pytest.mark.slow
def test_what_is_destroyed_leaves_nothing_that_should_go(deployment: Deployment, version: str) -> None:
    parts = deployment.parts
    buckets = {bucket.physical_id for bucket in deployment.of_kind("AWS::S3::Bucket")}
    groups = {group.physical_id for group in deployment.of_kind("AWS::Logs::LogGroup")}
    destroy(parts)
    with client(parts.endpoint, "s3") as s3:
        assert not buckets & {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    with client(parts.endpoint, "lambda") as functions:
        assert functions.list_functions()["Functions"] == []
    with client(parts.endpoint, "logs") as logs:
        left = {group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]}
    assert not groups & left
    with client(parts.endpoint, "apigateway") as gateway:
        assert gateway.get_rest_apis()["items"] == gateway.get_api_keys()["items"] == []
    deploy(parts)
