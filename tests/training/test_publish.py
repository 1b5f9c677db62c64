import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.recommendations import Manifest, trending_key
from tests.training.published import Row, history, manifest, publish, rows_of, scored, table
from training import publish as publishing
from training.errors import VersionError
from training.publish import copy_version, publish_version, read_lists, read_manifest
from training.storage import Folder


def lists_of(out: Folder, version: str) -> list[Row]:
    return [row for batch in read_lists(out, read_manifest(out, version)) for row in batch.to_pylist()]


def test_a_published_version_is_read_back_as_it_was(tmp_path: Path) -> None:
    published = publish(Folder(tmp_path), "v1")
    assert read_manifest(Folder(tmp_path), "v1") == published
    assert lists_of(Folder(tmp_path), "v1") == table(rows_of("v1")).to_pylist()


def test_a_version_is_published_to_s3_and_read_back(bucket: str) -> None:
    out = Folder(f"s3://{bucket}")
    published = publish(out, "v1")
    assert read_manifest(out, "v1") == published
    assert lists_of(out, "v1") == table(rows_of("v1")).to_pylist()
    assert list(out.list()) == ["recommendations/v1/lists-00000.parquet", "recommendations/v1/manifest.json"]


def test_the_manifest_tells_files_and_counts(tmp_path: Path) -> None:
    published = publish(Folder(tmp_path), "v1", users=7)
    (entry,) = published.files
    data = (tmp_path / "recommendations/v1" / entry.name).read_bytes()
    assert (entry.name, entry.rows, entry.bytes) == ("lists-00000.parquet", 12, len(data))
    assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert published.counts == {
        "events": 5, "users": 2, "items": 3, "personal": 7, "history": 1, "similar": 1, "bought_together": 1,
        "popular": 1, "trending": 1,
    }  # fmt: skip


def test_the_same_lists_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (publish(Folder(tmp_path / name), "v1") for name in ("one", "other"))
    assert one == other


def test_many_lists_go_into_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "ROWS_A_FILE", 64)
    monkeypatch.setattr(publishing, "ROWS_A_GROUP", 32)
    published = publish(Folder(tmp_path), "v1", users=197)
    assert [entry.rows for entry in published.files] == [64, 64, 64, 10]
    assert lists_of(Folder(tmp_path), "v1") == table(rows_of("v1", users=197)).to_pylist()


def test_files_are_not_much_larger_than_they_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "BYTES_A_FILE", 1)
    monkeypatch.setattr(publishing, "ROWS_A_GROUP", 10)
    assert [entry.rows for entry in publish(Folder(tmp_path), "v1", users=15).files] == [10, 10]


WRONG: dict[str, tuple[Row, str]] = {
    "an unknown kind": (scored("best", "u9", ["i1"]), "best of 'u9'.*is none of personal"),
    "an empty key": (scored("personal", "", ["i1"]), "key that is empty"),
    "an empty key of a history": (history("", ["i1"]), "key that is empty"),
    "a long key": (scored("similar", "x" * 257, ["i1"]), "257 characters"),
    "a long key of a window": (scored("trending", "30d:" + "x" * 257, ["i1"]), "261 characters"),
    "no key": (scored("personal", None, ["i1"]), "1 lists have no key"),
    "no items": (scored("personal", "u9", []), "personal of 'u9' has no items"),
    "an empty item": (scored("personal", "u9", ["i1", ""]), "'u9' has item_ids, of which '' is empty"),
    "a NUL": (scored("personal", "u9", ["i\0"]), "'u9'.*NUL"),
    "an item that is null": (scored("personal", "u9", ["i1", None]), "None is null"),
    "fewer scores": (scored("personal", "u9", ["i1", "i2"]) | {"scores": [1.0]}, "more or fewer scores"),
    "no scores": (scored("personal", "u9", ["i1"]) | {"scores": None}, "'u9' has no scores"),
    "a score that is no number": (
        scored("personal", "u9", ["i1"]) | {"scores": [float("nan")]},
        "scores that are no numbers",
    ),
    "times of no events": (scored("personal", "u9", ["i1"]) | {"timestamps": [1]}, "'u9' has timestamps"),
    "scores of a history": (history("u9", ["i1"]) | {"scores": [1.0]}, "history of 'u9' has scores"),
    "fewer types": (history("u9", ["i1", "i2"]) | {"event_types": ["view"]}, "more or fewer event_types"),
    "no types": (history("u9", ["i1"]) | {"event_types": None}, "has no event_types"),
    "an empty type": (history("u9", ["i1"]) | {"event_types": [""]}, "event_types, of which '' is empty"),
    "more times": (history("u9", ["i1"]) | {"timestamps": [1, 2]}, "more or fewer timestamps"),
    "a time that is null": (history("u9", ["i1"]) | {"timestamps": [None]}, "timestamps that are no numbers"),
}


@pytest.mark.parametrize(("row", "problem"), WRONG.values(), ids=list(WRONG))
def test_a_list_that_breaks_the_contract_is_refused_by_name(tmp_path: Path, row: Row, problem: str) -> None:
    good = rows_of("v1", users=50)
    with pytest.raises(VersionError, match=problem):
        publish_version(Folder(tmp_path), [table([*good, row])], manifest=manifest("v1"))
    assert not list(tmp_path.rglob("manifest.json"))


def test_two_lists_of_one_key_are_refused_wherever_they_are(tmp_path: Path) -> None:
    tables = [table(rows_of("v1")), table([scored("personal", "u1", ["i9"])])]
    with pytest.raises(VersionError, match="2 lists are personal of 'u1'"):
        publish_version(Folder(tmp_path), tables, manifest=manifest("v1"))
    assert not list(tmp_path.rglob("manifest.json"))


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="LISTS_SCHEMA"):
        publish_version(Folder(tmp_path), [pa.table({"kind": ["personal"]})], manifest=manifest("v1"))


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    good = table(rows_of("v1"))
    keys = pa.array([b"\xff"] * len(good), pa.binary()).view(pa.string())
    with pytest.raises(VersionError, match="no text"):
        publish_version(Folder(tmp_path), [good.set_column(1, "key", keys)], manifest=manifest("v1"))


def test_a_version_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="no lists"):
        publish_version(Folder(tmp_path), [], manifest=manifest("v1"))


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    publish(Folder(tmp_path), "v1")
    with pytest.raises(VersionError, match="never overwritten"):
        publish(Folder(tmp_path), "v1")


@pytest.mark.parametrize("name", ["", "../v1", "a/b", ".hidden", "v 1", "x" * 129, "é"])
def test_what_cannot_name_a_folder_names_no_version(tmp_path: Path, name: str) -> None:
    with pytest.raises(VersionError, match="can't be the name"):
        publish(Folder(tmp_path), name)
    with pytest.raises(VersionError, match="can't be the name"):
        read_manifest(Folder(tmp_path), name)


def test_what_an_interrupted_publication_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recommendations/v1"
    folder.mkdir(parents=True)
    for name in ("lists-00000.parquet", "lists-00007.parquet", "notes.txt"):
        (folder / name).write_text("left")
    publish(Folder(tmp_path), "v1")
    assert sorted(path.name for path in folder.iterdir()) == [
        "lists-00000.parquet", "manifest.json", "notes.txt",
    ]  # fmt: skip
    assert lists_of(Folder(tmp_path), "v1") == table(rows_of("v1")).to_pylist()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "recommendations").write_text("a file where a folder should be")
    with pytest.raises(VersionError, match=f"{tmp_path}: can't be written"):
        publish(Folder(tmp_path), "v1")


def test_a_copy_is_the_same_version_with_the_manifest_that_was_given(tmp_path: Path) -> None:
    source, destination = Folder(tmp_path / "from"), Folder(tmp_path / "to")
    published = replace(publish(source, "v1"), mlflow={"run_id": "7"})
    copy_version(source, destination, published)
    assert read_manifest(destination, "v1") == published
    assert lists_of(destination, "v1") == lists_of(source, "v1")
    with pytest.raises(VersionError, match="never overwritten"):
        copy_version(source, destination, published)


def test_a_damaged_version_is_not_copied(tmp_path: Path) -> None:
    source, destination = Folder(tmp_path / "from"), Folder(tmp_path / "to")
    published = publish(source, "v1")
    (tmp_path / "from/recommendations/v1/lists-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(VersionError, match=r"from.*lists-00000.parquet"):
        copy_version(source, destination, published)
    assert not destination.exists("recommendations/v1/manifest.json")


def test_a_version_that_is_not_there_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="v9.*no such version; there are none"):
        read_manifest(Folder(tmp_path), "v9")
    publish(Folder(tmp_path), "v1", "v2")
    (tmp_path / "recommendations/unfinished").mkdir()
    (tmp_path / "recommendations/unfinished/lists-00000.parquet").write_text("")
    with pytest.raises(VersionError, match="there are: v1, v2$"):
        read_manifest(Folder(tmp_path), "v9")


def edit(change: dict[str, Any]) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | change)


@pytest.mark.parametrize(
    ("edited", "problem"),
    [
        (lambda text: text[:100], "not JSON"),
        (lambda _: "[]", "a list, not an object"),
        (edit({"schema_version": 2}), "schema version 2"),
        (edit({"blend_weights": {}}), "blend weights"),
        (edit({"version": "v2"}), "manifest of version v2"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(
    tmp_path: Path, edited: Callable[[str], str], problem: str
) -> None:
    publish(Folder(tmp_path), "v1")
    path = tmp_path / "recommendations/v1/manifest.json"
    path.write_text(edited(path.read_text()))
    with pytest.raises(VersionError, match=f"v1/manifest.json.*{problem}"):
        read_manifest(Folder(tmp_path), "v1")


def rewritten(out: Path, published: Manifest, lists: pa.Table) -> Manifest:
    """A manifest whose checksums are right for a file with something else in it."""
    path = out / "recommendations/v1/lists-00000.parquet"
    pq.write_table(lists, path)
    data = path.read_bytes()
    entry = replace(published.files[0], bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    return replace(published, files=(entry,))


def test_a_file_that_is_not_what_was_published_is_named(tmp_path: Path) -> None:
    out = Folder(tmp_path)
    published = publish(out, "v1")
    path = tmp_path / "recommendations/v1/lists-00000.parquet"

    fewer = rewritten(tmp_path, published, table(rows_of("v1")[:2]))
    with pytest.raises(VersionError, match=r"lists-00000.parquet: has 2 rows, the manifest says 7"):
        list(read_lists(out, fewer))
    other = rewritten(tmp_path, published, pa.table({"a": [1] * 5}))
    with pytest.raises(VersionError, match=r"lists-00000.parquet: has other columns"):
        list(read_lists(out, other))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VersionError, match=r"lists-00000.parquet: isn't the file that was published"):
        list(read_lists(out, published))
    path.unlink()
    with pytest.raises(VersionError, match=r"lists-00000.parquet: is missing"):
        list(read_lists(out, published))


def test_a_window_of_the_longest_category_is_a_key(tmp_path: Path) -> None:
    lists = table([scored("trending", trending_key("30d", "x" * 256), ["i1"])])
    assert publish_version(Folder(tmp_path), [lists], manifest=manifest("v")).counts["trending"] == 1
