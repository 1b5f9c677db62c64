"""A manifest comes back as it was written, or says why it cannot."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.blending import BlendWeights
from contract.recommendations import (
    FileEntry,
    ListKind,
    Manifest,
    ManifestError,
    lists_counts,
)

MOMENT = "2026-01-31T12:00:00Z"
MANIFEST = Manifest(
    version="v1",
    as_of=MOMENT,
    created_at=MOMENT,
    training_window={"from": MOMENT, "to": MOMENT},
    dataset_fingerprint="0" * 64,
    code_version="unknown",
    counts={"events": 3, "users": 2, "items": 1},
    files=(FileEntry(name="lists-00000.parquet", rows=3, bytes=100, sha256="1" * 64),),
    metrics={"batch": {"served": {"users": 1, "recall@10": 0.5}}},
    blend_weights=BlendWeights(own=0.5),
    exclude_purchased=True,
    exclude_purchased_by_category={"coffee": False},
    mlflow={"run_id": "r"},
    notes={"ranking": {"ranker": "linear", "reason": "it was asked for", "ndcg@10": {"linear": 0.5}}},
)

texts = st.text(max_size=20)
moments = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
manifests = st.builds(
    Manifest,
    version=texts,
    as_of=moments,
    created_at=moments,
    training_window=st.dictionaries(texts, moments, max_size=2),
    dataset_fingerprint=texts,
    code_version=texts,
    counts=st.dictionaries(texts, st.integers(0), max_size=3),
    files=st.lists(
        st.builds(FileEntry, name=texts, rows=st.integers(0), bytes=st.integers(0), sha256=texts), max_size=3
    ).map(tuple),
    metrics=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    blend_weights=st.builds(BlendWeights, own=st.floats(0, 10), recent_items=st.integers(0, 100)),
    exclude_purchased=st.booleans(),
    exclude_purchased_by_category=st.dictionaries(texts, st.booleans(), max_size=3),
    mlflow=st.dictionaries(texts, texts, max_size=2),
    notes=st.dictionaries(texts, st.dictionaries(texts, texts, max_size=2), max_size=2),
)


@given(manifest=manifests)
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_document(json.loads(manifest.to_json())) == manifest


def test_all_events_up_to_and_including_its_moment_are_known() -> None:
    assert MANIFEST.trained_until == 1_769_860_800_001


def test_fields_of_newer_code_are_passed_over() -> None:
    assert Manifest.from_document({**document(), "newer": 1}) == MANIFEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        ("[]", "is a list, not an object"),
        ("{}", "has schema version None, this code reads 1"),
        ('{"schema_version": 2}', "has schema version 2"),
        ('{"schema_version": 1}', "lacks as_of, blend_weights, code_version"),
    ],
)
def test_what_is_no_manifest_says_why(text: str | bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        Manifest.from_json(text)


@pytest.mark.parametrize("files", [[{"name": "a"}], [{"more": 1}], [7], 7])
def test_files_of_an_odd_form_are_refused(files: Any) -> None:
    with pytest.raises(ManifestError, match="files is not a list of name, rows, bytes and sha256"):
        Manifest.from_document({**document(), "files": files})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted(json.loads(MANIFEST.to_json()))), value=json_values)
def test_any_field_may_hold_anything_and_is_then_refused_or_comes_back(name: str, value: Any) -> None:
    try:
        manifest = Manifest.from_document({**document(), name: value})
    except ManifestError as error:
        assert name.removesuffix("s").replace("_", " ") in str(error).replace("_", " ")  # noqa: PT017
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest


ADDED_LATER = {"exclude_purchased_by_category", "notes"}


@given(name=st.sampled_from(sorted(json.loads(MANIFEST.to_json()).keys() - ADDED_LATER)))
def test_each_field_is_missed(name: str) -> None:
    whole = document()
    del whole[name]
    with pytest.raises(ManifestError, match=f"lacks {name}|schema version None"):
        Manifest.from_document(whole)


def test_a_manifest_of_before_categories_counted_is_still_read() -> None:
    earlier = document()
    for name in ADDED_LATER:
        del earlier[name]
    earlier["counts"] = {"events": 3, "users": 2, "items": 1, "personal": 2, "history": 2, "similar": 1}
    manifest = Manifest.from_document(earlier)
    assert manifest.exclude_purchased_by_category == {}
    assert manifest.notes == {}
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert lists_counts(manifest.counts)["bought_together"] == 0


@given(text=texts, start=st.integers(0), length=st.integers(0, 50))
def test_a_damaged_manifest_is_refused_or_reads_as_another(text: str, start: int, length: int) -> None:
    whole = MANIFEST.to_json()
    start %= len(whole)
    damaged = whole[:start] + text + whole[start + length :]
    try:
        assert isinstance(Manifest.from_json(damaged), Manifest)
    except ManifestError as error:
        assert "the manifest" in str(error)  # noqa: PT017


def test_odd_weights_are_refused() -> None:
    with pytest.raises(ManifestError, match="the manifest's blend weights lack .*event_weights"):
        Manifest.from_document({**document(), "blend_weights": {"own": 1}})


def test_weights_of_newer_code_are_passed_over() -> None:
    weights = {**document()["blend_weights"], "newer": 1}
    assert Manifest.from_document({**document(), "blend_weights": weights}) == MANIFEST


def test_each_kind_of_list_is_counted_also_where_there_is_none() -> None:
    assert lists_counts({ListKind.PERSONAL: 3}) == {
        "personal": 3,
        "history": 0,
        "similar": 0,
        "bought_together": 0,
        "popular": 0,
        "trending": 0,
    }


def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(MANIFEST.to_json())
    return parsed
