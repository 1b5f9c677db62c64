"""A version is tried by the real handler under the real runtime client, through Lambda's `Invoke`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lambda_executor import Function
from tasks.canary import CanaryError, Limits, try_version
from tasks.deployment import Deployment
from tasks.versions import go_live, load
from twin.dags.lambda_api import LambdaApi

from tests.dags.deployments import deployment
from tests.training.published import history, manifest, scored, table
from training.publish import publish_version
from training.storage import Folder

ROOT = Path(__file__).parents[2]
PATIENT = Limits(max_seconds=60, min_overlap=0)
ARN = "arn:aws:lambda:us-east-1:000000000000:function:shop-local-api-read:live"


def publish(folder: Folder, version: str, items: list[str]) -> None:
    rows = [scored("personal", f"u{n}", items) for n in range(3)]
    rows += [history("u0", items[:1]), scored("similar", items[0], [items[0], items[1]])]
    publish_version(folder, [table([*rows, scored("popular", "", items)])], manifest=manifest(version))


@pytest.fixture
def of_shop(
    database: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """A shop whose live version is `v1`, and the function that reads."""
    folder = Folder(f"s3://{bucket}")
    publish(folder, "v1", ["i1", "i2", "i3"])
    publish(folder, "v2", ["i2", "i3", "i4"])
    function = Function(
        handler="lambdas.recommendations_api.handler.handler",
        code=ROOT,
        environment={"DATABASE_URL": database, "AUTHORIZATION": "iam", "DATABASE_TIMEOUT_MS": "5000"},
        log_file=tmp_path / "log",
    )
    with LambdaApi({ARN: function}) as invoke:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", invoke.url)
        of_shop = deployment(
            database_url=database,
            events_uri=f"s3://{bucket}",
            recommendations_uri=f"s3://{bucket}",
            read_function=ARN,
        )
        load(of_shop, "v1")
        go_live(of_shop, "v1")
        yield of_shop
    function.stop()


def test_a_version_that_answers_well_tells_how_fast_and_how_much_it_has_in_common(
    of_shop: Deployment,
) -> None:
    load(of_shop, "v2")
    figures = try_version(of_shop, "v2", PATIENT)
    # Three users, somebody unknown, popular twice, one item, one filter.
    assert figures["asked"] == 8
    assert figures["overlap"] == pytest.approx(2 / 3)
    assert 0 < figures["median_seconds"] <= figures["slowest_seconds"]


def test_a_first_version_has_nothing_to_have_in_common_with(of_shop: Deployment) -> None:
    load(of_shop, "v2")
    with psycopg.connect(of_shop.database_url) as connection:
        connection.execute("DELETE FROM serving WHERE variant = 'default'")
    assert try_version(of_shop, "v2", PATIENT)["overlap"] is None


def test_what_is_wrong_is_told_all_at_once_and_without_a_user_s_id(of_shop: Deployment) -> None:
    load(of_shop, "v2")
    with psycopg.connect(of_shop.database_url) as connection:
        connection.execute(
            "UPDATE recommendations SET item_ids = '{}', scores = '{}' FROM versions"
            " WHERE version = number AND name = 'v2' AND kind = 'popular'"
        )
        connection.execute(
            "UPDATE recommendations SET item_ids = '{i2,i2}', scores = '{1,1}' FROM versions"
            " WHERE version = number AND name = 'v2' AND key = 'u1' AND kind = 'personal'"
        )
    with pytest.raises(CanaryError) as failed:
        try_version(of_shop, "v2", PATIENT)
    told = str(failed.value)
    assert told.startswith("version v2 is not fit to be live: ")
    assert "/v1/popular answers without an item" in told
    assert "u1" not in told


def test_another_version_than_the_one_that_is_tried_is_found_out(of_shop: Deployment) -> None:
    load(of_shop, "v2")
    load(of_shop, "v1")
    with pytest.raises(CanaryError, match="/v1/users is answered by v1"):
        try_version(of_shop, "v2", PATIENT)


def test_a_version_that_is_too_slow_or_too_different_does_not_go_live(of_shop: Deployment) -> None:
    load(of_shop, "v2")
    with pytest.raises(
        CanaryError, match=r"half of its answers take more than .*; it shares 66.7% of its items"
    ):
        try_version(of_shop, "v2", Limits(max_seconds=1e-9, min_overlap=0.9))


def test_a_version_that_is_not_loaded_is_told_with_what_to_do(of_shop: Deployment) -> None:
    with pytest.raises(CanaryError, match="version v2 isn't loaded: clear the task that loads it"):
        try_version(of_shop, "v2", PATIENT)


def test_a_function_that_cannot_be_invoked_or_breaks_is_told(
    of_shop: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(of_shop, "v2")
    gone: dict[str, Any] = {"read_function": f"{ARN}-gone"}
    with pytest.raises(CanaryError, match="Function not found"):
        try_version(of_shop.model_copy(update=gone), "v2", PATIENT)
