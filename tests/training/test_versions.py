import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.training.published import publish
from training.storage import Folder
from training.versions import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The program with its settings in the environment: status, standard output, standard error."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("RECOMMENDATIONS_URI", str(tmp_path / "bucket"))
    monkeypatch.delenv("PUSHGATEWAY_URL", raising=False)
    publish(Folder(tmp_path / "bucket"), "a", "b", "c")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        return status, *capsys.readouterr()

    return run


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def document(run: Run, *arguments: str) -> Any:
    status, out, _ = run(*arguments, "--json")
    assert status == 0
    return json.loads(out)


def test_an_empty_database_is_said_to_be_empty(run: Run) -> None:
    assert run("list") == (0, "there are no versions in the database\n", "")
    assert document(run, "list") == []


def test_load_says_what_it_loaded_and_what_is_served(run: Run) -> None:
    status, out, _ = run("load", "a")
    loaded, served = out.splitlines()
    assert status == 0
    assert loaded.startswith(
        "loaded a: 2 personal, 1 history, 1 similar, 1 bought_together, 1 popular, 1 trending lists in "
    )
    assert served == "default serves a; before: nothing"
    _, out, _ = run("load", "a")
    assert out.splitlines() == [
        "a was loaded before: 2 personal, 1 history, 1 similar, 1 bought_together, 1 popular, 1 trending lists",
        "default serves a, as before",
    ]


def test_list_is_a_table_with_the_newest_version_first(run: Run) -> None:
    run("load", "a")
    run("load", "b", "--variant", "canary")
    _, out, _ = run("list")
    head, *rows = (line.split() for line in out.splitlines())
    assert head[:3] == ["VERSION", "NUMBER", "STATE"]
    assert [row[:6] for row in rows] == [
        ["b", "2", "ready", "canary", "2015-09-18T02:59:47.788Z", "2"],
        ["a", "1", "ready", "default", "2015-09-18T02:59:47.788Z", "2"],
    ]


def test_json_is_a_document_of_the_same(run: Run) -> None:
    loaded = document(run, "load", "a")
    assert (loaded["version"], loaded["reused"], loaded["retired"]) == ("a", False, None)
    assert loaded["move"] == {"variant": "default", "version": "a", "previous": None}
    (listed,) = document(run, "list")
    assert (listed["version"], listed["state"], listed["variants"]) == ("a", "ready", ["default"])
    assert listed["counts"]["personal"] == 2
    shown = document(run, "show", "a")
    assert shown["manifest"]["version"] == "a"
    assert [move["variant"] for move in shown["served"]] == ["default"]
    assert document(run, "verify", "a") == {"version": "a", "files": 1, "lists": 7}
    document(run, "load", "b")
    assert document(run, "rollback") == {
        "variant": "default", "version": "a", "previous": "b", "moved": True,
    }  # fmt: skip
    assert document(run, "drop", "b") == {"dropped": ["b"], "pending": [], "kept": ["a"]}


def test_show_tells_where_a_version_comes_from_and_how_good_it_was(run: Run) -> None:
    run("load", "a")
    status, out, _ = run("show", "a")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["version", "a"] in lines
    assert ["served", "as", "default"] in lines
    assert ["personal", "2"] in lines
    assert ["batch", "served", "precision@10", "0.1", "recall@10", "0.25", "users", "10"] in lines


def test_load_can_leave_live_what_is_live(run: Run) -> None:
    run("load", "a")
    _, out, _ = run("load", "b", "--no-activate")
    assert "serves" not in out
    assert run("rollback", "b")[1] == "default serves b; before: a\n"


def test_load_can_retire_what_is_old(run: Run) -> None:
    for version in "ab":
        run("load", version)
    _, out, _ = run("load", "c", "--keep", "2")
    assert out.splitlines()[-1] == "dropped: a"
    assert document(run, "load", "c", "--keep", "1")["retired"]["dropped"] == ["b"]


def test_variants_divide_the_visitors_by_their_shares(run: Run) -> None:
    run("load", "a")
    run("load", "b", "--variant", "try")
    run("load", "c", "--variant", "canary")
    assert document(run, "share", "try", "0.25") == {"shares": {"canary": 0, "default": 1, "try": 0.25}}
    lines = run("share", "default", "0.75")[1].splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["canary", "0", "-"],
        ["default", "0.75", "75.0%"],
        ["try", "0.25", "25.0%"],
    ]


def test_somebody_is_always_served(run: Run) -> None:
    run("load", "a")
    run("load", "b", "--variant", "try")
    status, _, error = run("share", "default", "0")
    assert (status, "give another one its share first" in error) == (1, True)
    assert document(run, "share", "try", "1")["shares"] == {"default": 1, "try": 1}
    run("share", "default", "0")
    status, _, error = run("end", "try")
    assert (status, "give another one its share first" in error) == (1, True)
    run("share", "default", "1")
    assert document(run, "end", "try") == {"shares": {"default": 1}}
    assert run("drop", "b")[0] == 0


MISTAKES = {
    ("show", "x"): "there is no version 'x' in the database; there are none",
    ("rollback",): "variant 'default' serves nothing",
    ("share", "b", "0.5"): "variant 'b' serves nothing; no variant does",
    ("share", "canary", "0.5"): "canary answers no visitors",
    ("share", "b", "1.5"): "from 0 to 1, not 1.5",
    ("share", "b", "nan"): "from 0 to 1, not nan",
    ("end", "b"): "variant 'b' serves nothing; no variant does",
    ("end", "default"): "the variant default stays",
    ("drop", "x"): "there is no version 'x' in the database; there are none",
    ("load", "x"): "no such version; there are: a, b, c",
    ("verify", "x"): "no such version; there are: a, b, c",
    ("load", "a", "--recommendations", "ftp://x/y"): "expected a folder or s3://bucket/prefix",
    ("list", "--database-url", "postgresql://nobody@127.0.0.1:1/x"): "the database can't be reached",
}


def test_an_error_is_one_line_and_status_one(run: Run) -> None:
    for arguments, problem in MISTAKES.items():
        status, out, error = run(*arguments)
        assert (status, out) == (1, "")
        assert problem in error
        assert error.count("\n") == 1


def test_a_missing_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(SystemExit, match="2"):
        run("list")


@contextmanager
def gateway() -> Iterator[tuple[str, list[str]]]:
    """A pushgateway that only remembers what it was sent."""
    pushed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            pushed.extend([self.path, *body.splitlines()])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", pushed
        server.shutdown()
        thread.join()


def test_a_load_is_pushed_where_a_gateway_is_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway() as (url, pushed):
        monkeypatch.setenv("PUSHGATEWAY_URL", url)
        assert run("load", "a")[0] == 0
    assert pushed[0] == "/metrics/job/load"
    assert 'shop_load_lists{kind="personal"} 2.0' in pushed
    assert "shop_load_version_as_of_timestamp_seconds 1.442545187788e+09" in pushed
    assert any(line.startswith("shop_load_duration_seconds ") for line in pushed)


def test_a_gateway_that_is_down_fails_no_load(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHGATEWAY_URL", "http://127.0.0.1:1")
    status, out, error = run("load", "a", "--json")
    assert (status, json.loads(out)["version"]) == (0, "a")
    assert "metrics not pushed" in error
