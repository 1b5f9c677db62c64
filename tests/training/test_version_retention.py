"""Old versions in the bucket: what is in use stays, however old it is."""

import json
import time
from typing import Any

import boto3
import pytest

from contract.s3_layout import gate_key, manifest_key, model_report_key, version_prefix
from tests.training.published import publish
from training.errors import BadInputError, DatabaseError, VersionError
from training.loader import load_version
from training.storage import Folder
from training.version_retention import delete_old_versions

CREATED_MS = 1_442_545_800_000
"""When `tests.training.published` says that its versions were trained."""
DAY_MS = 86_400_000


@pytest.fixture
def versions(folder: Folder) -> Folder:
    publish(folder, "v1", "v2", "v3", "v4")
    for version in ("v1", "v2", "v3", "v4", "refused"):
        folder.write(gate_key(version), b"{}")
        folder.write(model_report_key(version), b"<p>")
    folder.write(version_prefix("v1") + "ranker.json", b"{}")
    return folder


def test_old_versions_go_and_those_in_postgres_and_the_newest_stay(database: str, versions: Folder) -> None:
    load_version(database, versions, "v2")
    report = delete_old_versions(database, versions, keep=1, now_ms=round(time.time() * 1000))
    assert (report.versions, report.kept) == (("v1", "v3"), 2)
    assert list(versions.list(version_prefix("v1"))) == list(versions.list(version_prefix("v3"))) == []
    load_version(database, versions, "v4")
    # What was said of them was written just now.
    assert report.reports == 0
    later = delete_old_versions(database, versions, keep=1, now_ms=round(time.time() * 1000) + 91 * DAY_MS)
    assert (later.versions, later.reports) == ((), 6)
    assert {*versions.list("gates/")} == {gate_key("v2"), gate_key("v4")}
    assert {*versions.list("model_reports/")} == {model_report_key("v2"), model_report_key("v4")}


def test_a_version_is_old_when_its_days_are_over(database: str, versions: Folder) -> None:
    limit = CREATED_MS + 90 * DAY_MS
    assert delete_old_versions(database, versions, keep=1, now_ms=limit).versions == ()
    assert delete_old_versions(database, versions, keep=1, now_ms=limit + 1).versions == ("v1", "v2", "v3")
    assert delete_old_versions(database, versions, keep=1, now_ms=limit + 1).versions == ()


def test_what_a_crash_left_of_a_version_is_no_version(database: str, versions: Folder) -> None:
    class CrashError(Exception):
        pass

    class Crashing(Folder):
        def delete_folder(self, prefix: str) -> None:
            raise CrashError(prefix)

    with pytest.raises(CrashError):
        delete_old_versions(database, Crashing(versions.uri), keep=1)
    assert delete_old_versions(database, versions, keep=1).versions == ("v2", "v3")
    assert manifest_key("v1") not in list(versions.list(version_prefix("v1")))


def test_a_version_whose_manifest_cannot_be_read_stays_and_is_told(database: str, versions: Folder) -> None:
    document: dict[str, Any] = json.loads(versions.read(manifest_key("v1")))
    versions.write(manifest_key("v1"), json.dumps({**document, "schema_version": 9}).encode())
    with pytest.raises(VersionError, match=r"v1/manifest\.json: the manifest has schema version 9"):
        delete_old_versions(database, versions, keep=1)
    assert versions.exists(manifest_key("v1"))
    assert not versions.exists(manifest_key("v2"))


def test_without_postgres_nothing_is_deleted(versions: Folder) -> None:
    before = list(versions.list())
    with pytest.raises(DatabaseError):
        delete_old_versions("postgresql://127.0.0.1:1/none", versions, keep=1)
    assert list(versions.list()) == before


def test_in_s3_nothing_is_left_of_a_version_either(database: str, bucket: str) -> None:
    folder = Folder(f"s3://{bucket}")
    publish(folder, "v1", "v2")
    folder.write(gate_key("v1"), b"{}")
    delete_old_versions(database, folder, keep=1, now_ms=round(time.time() * 1000) + 91 * DAY_MS)
    there = boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    kept = {f"recommendations/v2/{name}" for name in ("manifest.json", "lists-00000.parquet")}
    assert {each["Key"] for each in there} == kept | {"recommendations/", "gates/"}


def test_no_days_are_refused(database: str, versions: Folder) -> None:
    with pytest.raises(BadInputError, match="expected 1 or more"):
        delete_old_versions(database, versions, keep_days=0)
