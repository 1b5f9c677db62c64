"""Catalogues: out of files, into the bucket, and back."""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.events import MAX_ID_LENGTH
from training.catalogue import (
    Catalogue,
    CatalogueInfo,
    latest_catalogue,
    list_catalogues,
    read_catalogue,
    write_catalogue,
)
from training.errors import BadInputError, VersionError
from training.importing.catalogue import CatalogueReport, import_catalogue
from training.importing.catalogue_rows import ITEM_COLUMNS
from training.importing.catalogue_tree import CATEGORIES_SCHEMA
from training.storage import Folder

T0 = 1_420_070_400_000  # 2015-01-01
CATEGORIES = pa.table({"category_id": ["a", "b"], "parent_id": [None, "a"]}, schema=CATEGORIES_SCHEMA)


def items_table(*item_ids: str, category_id: str | None = "b", available: bool = True) -> pa.Table:
    rows = [{"item_id": item, "category_id": category_id, "available": available} for item in item_ids]
    return pa.Table.from_pylist(rows, schema=ITEM_COLUMNS)


def store(folder: Folder, *item_ids: str, as_of_ms: int = T0) -> CatalogueInfo:
    items = items_table(*item_ids)
    return write_catalogue(folder, items.to_batches(), items.schema, CATEGORIES, as_of_ms)


def imported(
    folder: Path, files: dict[str, str | bytes], **options: Any
) -> tuple[CatalogueReport, Catalogue]:
    """A catalogue made of these files, which are all that there is."""
    source = folder / "in"
    source.mkdir(parents=True)
    for name, content in files.items():
        (source / name).write_bytes(content.encode() if isinstance(content, str) else content)
    out = Folder(folder / "out")
    report = import_catalogue([source], out, **{"as_of_ms": T0} | options)
    return report, read_catalogue(out, report.info.version)


def items_of(folder: Path, files: dict[str, str | bytes], **options: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = imported(folder, files, **options)[1].items.to_pylist()
    return rows


# The store
@pytest.fixture(params=["folder", "S3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "folder":
        return Folder(tmp_path / "bucket")
    return Folder(f"s3://{request.getfixturevalue('bucket')}")


def test_what_is_written_is_read_back(root: Folder) -> None:
    info = store(root, "i1", "i2")
    assert info.version.startswith("20150101T000000Z-")
    assert sorted(root.list()) == [
        f"catalogue/{info.version}/{name}"
        for name in ("categories.parquet", "items.parquet", "manifest.json")
    ]
    catalogue = read_catalogue(root, info.version)
    assert catalogue.info == info
    assert catalogue.items.equals(items_table("i1", "i2"))
    assert catalogue.categories.equals(CATEGORIES)
    assert (
        json.loads(root.read(f"catalogue/{info.version}/manifest.json"))["as_of"]
        == "2015-01-01T00:00:00.000Z"
    )


def test_the_same_catalogue_is_the_same_version_and_another_is_another(root: Folder) -> None:
    first = store(root, "i1")
    before = {key: root.read(key) for key in root.list()}
    assert store(root, "i1") == first
    assert {key: root.read(key) for key in root.list()} == before
    others = {store(root, "i2").version, store(root, "i1", as_of_ms=T0 + 1).version}
    assert first.version not in others
    assert len(others) == 2


def test_versions_are_listed_by_the_moment_that_they_tell_of(root: Folder) -> None:
    assert list_catalogues(root) == ()
    assert latest_catalogue(root) is None
    infos = [store(root, "i", as_of_ms=T0 + hour * 3_600_000) for hour in (5, 1, 3)]
    assert [info.as_of_ms for info in list_catalogues(root)] == sorted(info.as_of_ms for info in infos)
    assert latest_catalogue(root) == infos[0]
    assert latest_catalogue(root, infos[2].as_of_ms) == infos[2]
    assert latest_catalogue(root, infos[2].as_of_ms - 1) == infos[1]
    assert latest_catalogue(root, T0) is None


def test_a_folder_without_a_manifest_is_no_version(root: Folder) -> None:
    whole, cut_off = store(root, "i1"), store(root, "i2", as_of_ms=T0 + 1)
    root.delete(f"catalogue/{cut_off.version}/manifest.json")
    assert list_catalogues(root) == (whole,)
    with pytest.raises(VersionError, match=f"no catalogue of this version; there are: {whole.version}"):
        read_catalogue(root, cut_off.version)


@pytest.mark.parametrize("name", ["items.parquet", "categories.parquet"])
def test_a_damaged_or_missing_file_is_told(root: Folder, name: str) -> None:
    version = store(root, "i1").version
    key = f"catalogue/{version}/{name}"
    root.write(key, root.read(key)[:-1] + b"x")
    with pytest.raises(VersionError, match=rf"{name}: isn't what its manifest says \(another checksum\)"):
        read_catalogue(root, version)
    root.delete(key)
    with pytest.raises(VersionError, match=f"{name}: is missing"):
        read_catalogue(root, version)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "v", "as_of": "soon"}', "\xff"])
def test_a_manifest_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    folder = Folder(tmp_path)
    folder.write("catalogue/v/manifest.json", text.encode("latin-1"))
    with pytest.raises(VersionError, match=r"v/manifest.json: isn't the manifest of a catalogue"):
        list_catalogues(folder)


def test_large_catalogues_come_in_whole_row_groups_however_they_were_batched(tmp_path: Path) -> None:
    items = items_table(*(f"{number:06}" for number in range(150_000)))
    infos = {
        write_catalogue(Folder(tmp_path / str(size)), items.to_batches(size), items.schema, CATEGORIES, T0)
        for size in (999, 200_000)
    }
    (info,) = infos
    with pq.ParquetFile(tmp_path / "999/catalogue" / info.version / "items.parquet") as file:
        assert [file.metadata.row_group(number).num_rows for number in range(2)] == [131_072, 18_928]


# What is read
def test_usual_names_and_every_spelling_of_a_flag_are_understood(tmp_path: Path) -> None:
    flags = {
        "true": True,
        "FALSE": False,
        "1": True,
        "0": False,
        "Yes": True,
        "nO": False,
        " 1 ": True,
        "": True,
    }
    lines = "".join(f"{number},c{number},{flag}\n" for number, flag in enumerate(flags))
    rows = items_of(tmp_path, {"shop.csv": f"SKU,Category,In-Stock\n{lines}"})
    assert [row["available"] for row in rows] == list(flags.values())
    assert [row["category_id"] for row in rows] == [f"c{number}" for number in range(len(flags))]


def test_what_is_not_said_is_available_and_without_a_category(tmp_path: Path) -> None:
    assert items_of(tmp_path, {"shop.csv": "product_id\ni1\n"}) == [
        {"item_id": "i1", "category_id": None, "available": True}
    ]


def test_the_same_items_come_out_of_every_format(tmp_path: Path) -> None:
    rows = [{"product_id": str(n), "category": f"ä,{n % 3}", "in_stock": n % 2 == 0} for n in range(9)]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    files = {
        "a.csv": text.getvalue(),
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "a.parquet": table.getvalue(),
    }
    versions = {imported(tmp_path / name, {name: content})[0].info.version for name, content in files.items()}
    assert len(versions) == 1


def test_other_columns_are_kept_those_of_parquet_with_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "item_id": ["i1", "i2"],
            "price": [9.5, None],
            "stock": pa.array([3, 4], pa.int16()),
            "is_new": [True, False],
            "brand": pa.array(["b", "b"]).dictionary_encode(),
            "since": pa.array([T0, None], pa.timestamp("ms", "UTC")),
            "cost": pa.array([Decimal("1.50"), Decimal(2)], pa.decimal128(9, 2)),
            "tags": [["x", "y"], None],
            "Price": ["other", ""],
            "blob": [b"text", b""],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    items = imported(tmp_path, {"a.parquet": file.getvalue()})[1].items
    types = {column.name: str(column.type) for column in items.schema}
    assert list(types) == ["item_id", "category_id", "available", *table.column_names[1:]]
    assert (types["price"], types["stock"], types["is_new"]) == ("double", "int16", "bool")
    assert (types["since"], types["cost"]) == ("timestamp[ms, tz=UTC]", "decimal128(9, 2)")
    first, second = items.to_pylist()
    assert (first["price"], first["stock"], first["is_new"], first["brand"]) == (9.5, 3, True, "b")
    assert (first["tags"], first["Price"], first["blob"]) == ('["x", "y"]', "other", "text")
    assert first["since"].timestamp() * 1000 == T0
    assert [second[name] for name in ("price", "since", "tags", "Price", "blob")] == [None] * 5


def test_a_key_that_few_lines_of_json_have_is_kept(tmp_path: Path) -> None:
    lines = [{"item_id": f"{n:04}"} for n in range(1500)] + [{"item_id": "9999", "size": {"w": 1}}]
    rows = items_of(tmp_path, {"a.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})
    assert (rows[-1]["size"], rows[0]["size"]) == ('{"w": 1}', None)


def test_files_with_differing_columns_are_united(tmp_path: Path) -> None:
    rows = items_of(tmp_path, {"a.csv": "item_id,price\n1,9\n", "b.csv": "sku,colour,category\n2,red,c\n"})
    assert rows == [
        {"item_id": "1", "category_id": None, "available": True, "price": "9", "colour": None},
        {"item_id": "2", "category_id": "c", "available": True, "price": None, "colour": "red"},
    ]


def test_of_an_item_that_comes_twice_the_later_row_counts(tmp_path: Path) -> None:
    files = {"a.csv": "item_id,price\n1,old\n2,x\n1,new\n", "b.csv": "item_id,price\n2,y\n"}
    report, catalogue = imported(tmp_path, files)
    assert [row["price"] for row in catalogue.items.to_pylist()] == ["new", "y"]
    assert (report.rows, report.kept, report.replaced) == (4, 2, 2)


def test_the_same_files_give_the_same_version_whatever_memory_there_is(tmp_path: Path) -> None:
    text = "item_id,title\n" + "".join(f"{n * 7919 % 20_000:05},title {n}\n" for n in range(60_000))
    first, _ = imported(tmp_path / "1", {"a.csv": text})
    second, _ = imported(tmp_path / "2", {"a.csv": text}, memory_limit="40MB")
    assert first.info == second.info
    assert (first.kept, first.replaced) == (20_000, 40_000)


# The tree
ITEMS = "item_id,category\n1,a\n"


def test_a_tree_is_kept_and_the_later_row_of_a_category_counts(tmp_path: Path) -> None:
    report, catalogue = imported(
        tmp_path, {"i.csv": ITEMS, "t.csv": "category,parent\na,x\nb,\na,b\nc,nowhere\n"}
    )
    assert catalogue.categories.to_pylist() == [
        {"category_id": "a", "parent_id": "b"},
        {"category_id": "b", "parent_id": None},
        {"category_id": "c", "parent_id": "nowhere"},
    ]
    assert (report.rows, report.kept, report.replaced) == (5, 4, 1)
    assert (report.unknown_parents, report.moved) == (("nowhere",), ("a",))


@pytest.mark.parametrize(
    ("tree", "way"), [("a,a\n", "'a' > 'a'"), ("a,b\nb,c\nc,a\nd,a\n", "'a' > 'c' > 'b' > 'a'")]
)
def test_a_category_that_stands_above_itself_is_an_error(tmp_path: Path, tree: str, way: str) -> None:
    with pytest.raises(BadInputError, match=r"t.csv: a category stands above itself: ") as caught:
        imported(tmp_path, {"i.csv": ITEMS, "t.csv": f"category_id,parent_id\n{tree}"})
    told = str(caught.value).split(": ")[2].split(";")[0].split(" > ")
    expected = way.split(" > ")
    assert len(told) == len(expected)
    # Where the circle is entered is of no account.
    assert set(pairwise(told)) == set(pairwise(expected))
    assert not (tmp_path / "out" / "catalogue").exists()


# Bad files
def parquet_bytes(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


BAD_FILES: dict[str, tuple[dict[str, str | bytes], str]] = {
    "empty file": ({"a.csv": ""}, "a.csv: is empty"),
    "header alone": ({"a.csv": "item_id,category_id\n"}, "a.csv: no rows"),
    "no item_id": ({"a.csv": "title,price\n1,2\n"}, r"a.csv \(taken for items\): no column for item_id"),
    "two item_ids": ({"a.csv": "sku,item\n1,2\n"}, "more than one column could be item_id: 'sku', 'item'"),
    "a tree alone": (
        {"a.csv": "category_id,parent_id\na,\n"},
        r"a.csv \(taken for category tree\): no items",
    ),
    "users alone": ({"a.csv": "user_id,age\na,4\n"}, r"a.csv \(taken for users\): no items"),
    "nothing but bad rows": (
        {"a.csv": "item_id,price\n,1\n"},
        r"1 of 1 rows \(100.00%\).*not one can be used",
    ),
    "items and properties": (
        {"a.csv": ITEMS, "b.csv": f"timestamp,itemid,property,value\n{T0},1,available,1\n"},
        "a.csv tells of items and .*b.csv of their properties",
    ),
    "properties of later": (
        {"a.csv": f"timestamp,itemid,property,value\n{T0 + 1},1,available,1\n"},
        r"a.csv: not one item as of 2015-01-01T00:00:00.000Z \(1 rows tell of later\)",
    ),
    "a column twice": ({"a.csv": "item_id,price,price\n1,2,3\n"}, "more than one column 'price'"),
    "our name beside its usual one": (
        {"a.parquet": parquet_bytes(item_id=["1"], sku=["2"])},
        "more than one column could be item_id",
    ),
    "an id of a type that can't be": (
        {"a.parquet": parquet_bytes(item_id=[1.5])},
        "column 'item_id' is of type double; item_id needs text or whole numbers",
    ),
    "a flag of a type that can't be": (
        {"a.parquet": parquet_bytes(item_id=["1"], available=[0.5])},
        "column 'available' is of type double; available needs true and false",
    ),
    "types that can't be united": (
        {"a.parquet": parquet_bytes(item_id=["1"], x=[1]), "b.csv": "item_id,x\n2,y\n"},
        "a.parquet, .*b.csv: a column has types that can't be united.*x",
    ),
    "a name with a NUL": (
        {"a.jsonl": '{"item_id": "1", "a\\u0000b": 1}\n'},
        "the name of the column .* contains a NUL character",
    ),
    "truncated Parquet": ({"a.parquet": parquet_bytes(item_id=["1"])[:-9]}, "a.parquet: is damaged"),
    "not JSON lines": ({"a.jsonl": "[1]\n"}, "a.jsonl: none of its first lines is a JSON object"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_told_by_name_and_reason(tmp_path: Path, case: str) -> None:
    files, message = BAD_FILES[case]
    with pytest.raises(BadInputError, match=f"(?s){message}"):
        imported(tmp_path, files, max_bad_share=1)
    assert not (tmp_path / "out" / "catalogue").exists()


def test_our_own_name_may_be_free_for_another_column_only_if_it_is_renamed(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.csv": "item_id,sku\n1,2\n"}
    with pytest.raises(BadInputError, match="has a column 'item_id', but 'sku' is taken for it; rename it"):
        imported(tmp_path, files, columns={"sku": "item_id"})


def test_every_kind_of_bad_row_is_told_with_its_line_reason_and_field(tmp_path: Path) -> None:
    text = b"".join(
        [
            b"item_id,category_id,available,title\n",
            b"i1,c,1,t\n",
            b",c,1,t\n",
            f"{'x' * (MAX_ID_LENGTH + 1)},c,1,t\n".encode(),
            b"i\x002,c,1,t\n",
            f"i2,{'x' * (MAX_ID_LENGTH + 1)},1,t\n".encode(),
            b"i2,c,17,t\n",
            b"i2,c,1,\xff\n",
            b"i2,c,1,t\x00\n",
            b"i2,c,1\n",
        ]
    )
    tree = "category_id,parent_id\nc,\n,c\n"
    report, catalogue = imported(tmp_path, {"a.csv": text, "t.csv": tree}, max_bad_share=1)
    assert report.rejected_file
    rejected = pq.read_table(tmp_path / "out" / report.rejected_file).to_pylist()
    assert [(row["file"], row["row"], row["reason"], row["field"]) for row in rejected] == [
        ("t.csv", 3, "missing", "category_id"),
        ("a.csv", 3, "missing", "item_id"),
        ("a.csv", 4, "too_long", "item_id"),
        ("a.csv", 5, "nul_character", "item_id"),
        ("a.csv", 6, "too_long", "category_id"),
        ("a.csv", 7, "unreadable_flag", "available"),
        ("a.csv", 8, "invalid_utf8", "title"),
        ("a.csv", 9, "nul_character", "title"),
        ("a.csv", 10, "malformed_line", None),
    ]
    assert catalogue.items["item_id"].to_pylist() == ["i1"]
    assert report.rejected_rows == 9


def test_bad_json_lines_are_told(tmp_path: Path) -> None:
    lines = [
        {"item_id": 7, "available": True},
        {"item_id": True},
        {"item_id": 1.5},
        {"item_id": "8", "category_id": ["c"]},
        {"item_id": "8", "available": 0.5},
        {"item_id": "8", "available": None, "title": "\ud800"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "{\n"
    report, catalogue = imported(tmp_path, {"a.jsonl": text}, max_bad_share=1)
    assert report.rejected_file
    rejected = pq.read_table(tmp_path / "out" / report.rejected_file).to_pylist()
    assert [(row["row"], row["reason"], row["field"]) for row in rejected] == [
        (2, "wrong_type", "item_id"),
        (3, "wrong_type", "item_id"),
        (4, "wrong_type", "category_id"),
        (5, "wrong_type", "available"),
        (6, "invalid_utf8", "title"),
        (7, "malformed_line", None),
    ]
    assert catalogue.items["item_id"].to_pylist() == ["7"]


# Good in = good out
IDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)
GOOD_ROW = st.fixed_dictionaries(
    {
        "item_id": st.one_of(st.sampled_from(["a", "b", "c"]), IDS),
        "category": st.one_of(st.just(""), IDS),
        "available": st.sampled_from(["", "1", "no", "True"]),
        "title": st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
    }
)
BAD_VALUES = {
    "item_id": ["", "x" * (MAX_ID_LENGTH + 1), "a\x00", "\ud800"],
    "category": ["é" * (MAX_ID_LENGTH + 1), "\x00", "\udfff"],
    "available": ["2", "maybe", "in stock"],
    "title": ["\x00", "\ud800"],
}
BAD_ROW = st.sampled_from(sorted(BAD_VALUES)).flatmap(
    lambda name: st.tuples(GOOD_ROW, st.sampled_from(BAD_VALUES[name])).map(
        lambda pair: pair[0] | {name: pair[1]}
    )
)
ROWS = st.lists(st.one_of(st.tuples(GOOD_ROW, st.just(True)), st.tuples(BAD_ROW, st.just(False))), min_size=1)


def as_csv(rows: Sequence[dict[str, str]]) -> bytes:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(BAD_VALUES))
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue().encode(errors="surrogatepass")


def as_jsonl(rows: Sequence[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_all_good_items_come_in_and_all_bad_rows_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, rows: list[tuple[dict[str, str], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("property")
    content = (as_csv if suffix == ".csv" else as_jsonl)([row for row, _ in rows])
    good = {row["item_id"]: row for row, is_good in rows if is_good}
    n_good = sum(is_good for _, is_good in rows)
    if not good:
        with pytest.raises(BadInputError, match="not one can be used"):
            imported(folder, {f"a{suffix}": content}, max_bad_share=1)
        return
    report, catalogue = imported(folder, {f"a{suffix}": content}, max_bad_share=1)
    assert catalogue.items.to_pylist() == [
        {
            "item_id": item,
            "category_id": good[item]["category"] or None,
            "available": good[item]["available"] != "no",
            "title": good[item]["title"] or None,
        }
        for item in sorted(good, key=str.encode)
    ]
    assert (report.rows, report.kept, report.replaced) == (len(rows), len(good), n_good - len(good))
    assert report.rejected_rows == len(rows) - n_good
    if report.rejected_rows:
        rejected = pq.read_table(folder / "out" / str(report.rejected_file))
        assert len(set(rejected["row"].to_pylist())) == len(rejected) == report.rejected_rows


def test_too_many_bad_rows_stop_the_import(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError,
        match=r"(?s)1 of 2 rows \(50.00%\) are bad, at most 1.00%.*python -m training.rejected \S+",
    ):
        imported(tmp_path, {"a.csv": "item_id,available\n1,1\n2,perhaps\n"})
    assert not (tmp_path / "out" / "catalogue").exists()


def test_a_catalogue_that_cannot_be_written_is_told(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ITEMS)
    with pytest.raises(BadInputError, match="s3://no-such-bucket: cannot be written"):
        import_catalogue([tmp_path / "a.csv"], "s3://no-such-bucket", as_of_ms=T0)
