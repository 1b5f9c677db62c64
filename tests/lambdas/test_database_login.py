"""How the function logs in: tokens, secrets that are rotated, and a server that proves who it is."""

import datetime as dt
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import boto3
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr, ValidationError
from twin.s3 import aws_environment

from lambdas.database_login import DatabaseSettings, IamLogin, LoginError, SecretLogin
from lambdas.recommendations_api.database import Database, DatabaseUnavailableError
from lambdas.recommendations_api.logs import JsonFormatter
from tests.lambdas.callers import Api, event
from tests.lambdas.certificates import Authority
from tests.lambdas.conftest import MakeApi, environments
from tests.lambdas.own_postgres import OwnPostgres, own_postgres
from tests.lambdas.servers import black_hole
from tests.lambdas.versions import execute, load_first

ROOT = Path(__file__).parents[2]
RDS = "shop.abc.eu-west-1.rds.amazonaws.com"
PASSWORD = "correct-horse"  # of the test's own server
OTHER = "battery-staple"
MOMENT = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def own(logs: Path) -> Iterator[OwnPostgres]:
    """A server that asks the role `shop` for its password."""
    with own_postgres(logs / "own_postgres.log") as server:
        execute(server.url, f"CREATE ROLE shop SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
        server.ask_for_passwords_of("shop")
        yield server


@pytest.fixture(scope="module")
def shop(own: OwnPostgres) -> str:
    """The name of a database with a version that answers."""
    load_first(own.make_database("shop"))
    return "shop"


@pytest.fixture
def aws(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account of AWS (moto's server): no variable of a real one is left."""
    for name, value in aws_environment(s3_server).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def secret(aws: None, own: OwnPostgres, shop: str) -> Iterator["Secret"]:
    secret = Secret(
        {"username": "shop", "password": PASSWORD, "host": "localhost", "port": own.port, "dbname": shop}
    )
    yield secret
    secret.delete()
    set_password(own, PASSWORD)


class Secret:
    name = "shop/database"

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._client = boto3.Session().client("secretsmanager")
        self._client.create_secret(Name=self.name, SecretString=json.dumps(document))

    def rotate(self, **changed: Any) -> None:
        self.document |= changed
        self.put(json.dumps(self.document))

    def put(self, text: str) -> None:
        self._client.put_secret_value(SecretId=self.name, SecretString=text)

    def delete(self) -> None:
        self._client.delete_secret(SecretId=self.name, ForceDeleteWithoutRecovery=True)
        self._client.close()


def set_password(own: OwnPostgres, password: str) -> None:
    execute(own.url, f"ALTER ROLE shop PASSWORD '{password}'")


def end_connections(own: OwnPostgres) -> None:
    execute(
        own.url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'recommendations-api'",
    )


@contextmanager
def logging_in_by_secret(make: Callable[..., Api]) -> Iterator[Api]:
    yield make(
        database_url=SecretStr("host=localhost"),
        database_auth="secret",
        database_secret=Secret.name,
        database_pause_seconds=0,
    )


# What is impossible is an error of the settings


VERIFIED = f"postgresql://api@{RDS}/shop?sslmode=verify-full"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"database_auth": "iam", "database_url": f"postgresql://api@{RDS}/shop"},
            "DATABASE_URL has to say sslmode",
        ),
        ({"database_auth": "iam", "database_url": VERIFIED}, "DATABASE_CA"),
        ({"database_auth": "iam", "database_url": VERIFIED.replace("full", "ca")}, "sslmode=verify-full"),
        (
            {"database_auth": "iam", "database_url": "host=localhost hostaddr=192.0.2.1 user=api"},
            "verify-full",
        ),
        ({"database_auth": "iam", "database_url": "host=localhost,db.test user=api"}, "verify-full"),
        ({"database_auth": "iam", "database_url": "postgresql:///shop"}, "host and user"),
        ({"database_auth": "iam", "database_url": f"postgresql://localhost/{PASSWORD}"}, "host and user"),
        (
            {"database_auth": "iam", "database_url": f"postgresql://api:{PASSWORD}@localhost/shop"},
            "a password",
        ),
        ({"database_auth": "secret", "database_url": "host=localhost"}, "DATABASE_SECRET"),
        ({"database_auth": "secret", "database_url": "dbname=shop", "database_secret": "s"}, "verify-full"),
        ({"database_auth": "kerberos", "database_url": f"postgresql://u:{PASSWORD}@h/n"}, "database_auth"),
        ({"database_url": f"postgresql://u:{PASSWORD}%zz@h/n"}, "DATABASE_URL is not a connection string"),
        ({"database_url": "postgresql://h/n", "database_ca": "/nowhere"}, "database_ca"),
    ],
)
def test_impossible_settings_are_told_without_the_password(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        DatabaseSettings(**settings)  # type: ignore[arg-type]
    assert told in str(raised.value)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("auth", ["iam", "secret"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_this_machine_needs_no_certificate(auth: str, host: str) -> None:
    DatabaseSettings(
        database_url=SecretStr(f"postgresql://api@{host}/shop"), database_auth=auth, database_secret="s"
    )  # type: ignore[arg-type]


def test_the_file_of_certificates_gets_into_the_login(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem")
    settings = DatabaseSettings(database_url=SecretStr(VERIFIED), database_ca=authority.file)
    login = settings.login(timeout=1)
    assert conninfo_to_dict(login.conninfo())["sslrootcert"] == str(authority.file)
    named = DatabaseSettings(
        database_url=SecretStr(f"{VERIFIED}&sslrootcert=/other"), database_ca=authority.file
    )
    assert conninfo_to_dict(named.login(timeout=1).conninfo())["sslrootcert"] == "/other"


# Tokens


@pytest.mark.parametrize("session_token", [None, "session/token+with=odd&signs"])
def test_a_token_is_the_one_that_boto3_makes(
    session_token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: MOMENT.replace(tzinfo=None))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example/secret+key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    if session_token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", session_token)
    client = boto3.Session().client("rds")
    expected = client.generate_db_auth_token(DBHostname=RDS, Port=5433, DBUsername="api reader")
    client.close()
    login = IamLogin(make_conninfo(host=RDS, port=5433, user="api reader", dbname="shop"))
    known = conninfo_to_dict(login.conninfo())
    assert split_token(str(known["password"])) == split_token(expected)
    assert "20260131T120000Z" in expected
    assert (known["host"], known["dbname"]) == (RDS, "shop")


def split_token(token: str) -> tuple[str, dict[str, list[str]]]:
    """The order of a query's parameters is no part of what is signed."""
    url = urlsplit(f"https://{token}")
    return f"{url.netloc}{url.path}", parse_qs(url.query, strict_parsing=True)


def test_each_connection_has_a_token_of_its_own(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(10))
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime",
        lambda **_: MOMENT.replace(tzinfo=None) + dt.timedelta(minutes=next(moments)),
    )
    with PasswordTaker() as server:
        settings = DatabaseSettings(
            database_url=SecretStr(f"postgresql://api@localhost:{server.port}/shop"), database_auth="iam"
        )
        database = Database(settings.login(timeout=2), connect_timeout=2, pause=0, statement_timeout=1)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError) as raised:
                database.run(is_encrypted, timeout=1)
            assert "X-Amz" not in str(raised.value)
    taken = [split_token(password)[1]["X-Amz-Date"] for password in server.taken]
    assert taken == [["20260131T120000Z"], ["20260131T120100Z"]]


class PasswordTaker:
    """Asks for a password as Postgres does behind RDS's IAM, remembers it, and refuses."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.taken: list[str] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                # Requests for GSS and TLS encryption are declined, until the start-up message itself.
                while (start := stream.read(int.from_bytes(stream.read(4)) - 4))[:2] != b"\x00\x03":
                    client.sendall(b"N")
                assert b"api" in start
                client.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")
                assert stream.read(1) == b"p"
                self.taken.append(stream.read(int.from_bytes(stream.read(4)) - 4).rstrip(b"\x00").decode())
                refusal = b"SFATAL\x00C28000\x00MPAM authentication failed\x00\x00"
                client.sendall(b"E" + (len(refusal) + 4).to_bytes(4) + refusal)


def test_without_credentials_the_log_says_so(
    aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    database = Database(IamLogin("host=localhost user=api"), connect_timeout=2, pause=60, statement_timeout=1)
    with pytest.raises(DatabaseUnavailableError):
        database.run(is_encrypted, timeout=1)
    assert "there are no AWS credentials" in caplog.text
    with pytest.raises(DatabaseUnavailableError, match="a moment ago"):
        database.run(is_encrypted, timeout=1)


def test_credentials_of_a_restored_environment_come_from_where_its_variables_say(
    aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With SnapStart there is no AWS_ACCESS_KEY_ID, but an address within the environment."""

    class Credentials(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "of-this-environment"
            until = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=6)).isoformat()
            told = {"AccessKeyId": "ASIARESTORED", "SecretAccessKey": "s", "Token": "t", "Expiration": until}
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with HTTPServer(("127.0.0.1", 0), Credentials) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of-this-environment")
        token = conninfo_to_dict(IamLogin("host=localhost user=api").conninfo())["password"]
        server.shutdown()
        thread.join()
    assert "ASIARESTORED" in str(token)


# Secrets


def test_a_secret_says_who_and_where(secret: Secret, own: OwnPostgres) -> None:
    with environments(own.url) as make, logging_in_by_secret(make) as api:
        assert api.recommendations("known").document["source"] == "personalized"


def test_what_the_url_says_of_where_goes_before_the_secret(secret: Secret, own: OwnPostgres) -> None:
    secret.rotate(host="nowhere.invalid", port=1, dbname="other")
    login = SecretLogin(f"host=localhost port={own.port} dbname=postgres", Secret.name, timeout=5)
    known = conninfo_to_dict(login.conninfo())
    assert (known["host"], known["port"], known["dbname"]) == ("localhost", str(own.port), "postgres")
    assert (known["user"], known["password"]) == ("shop", PASSWORD)


def test_a_rotated_password_is_read_anew_where_the_old_one_is_refused(
    secret: Secret, own: OwnPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    with environments(own.url) as make, logging_in_by_secret(make) as api:
        before = api.recommendations("known")
        set_password(own, OTHER)
        secret.rotate(password=OTHER)
        assert api.recommendations("known").content == before.content, "an open connection stays"
        end_connections(own)
        after = api.recommendations("known")
        assert after.content == before.content
        assert "x-degraded" not in after.headers
        assert api.post_events(event("u", "tent")).status == 202
    assert "which has changed" in caplog.text
    check_silence(caplog, PASSWORD, OTHER)


def test_a_password_that_is_refused_though_it_has_not_changed_is_a_missing_database(
    secret: Secret, own: OwnPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    with environments(own.url) as make, logging_in_by_secret(make) as api:
        set_password(own, OTHER)
        refused = api.recommendations("known")
        assert (refused.status, refused.document["type"]) == (503, "urn:problem:database-unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert "password" not in json.dumps(refused.document)
        assert "password authentication failed" in caplog.text
        secret.rotate(password=OTHER)
        assert api.recommendations("known").document["source"] == "personalized", "as soon as it is told"
    check_silence(caplog, PASSWORD, OTHER)


@pytest.mark.parametrize(
    "text",
    ['{"username": "shop"}', '{"password": "correct-horse"}', '["correct-horse"]', 'correct-horse"', "{}"],
)
def test_a_secret_that_cannot_be_used_is_told_without_its_content(
    secret: Secret, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret.put(text)
    database = Database(
        SecretLogin("host=localhost", Secret.name, timeout=5), connect_timeout=2, pause=0, statement_timeout=1
    )
    with pytest.raises(DatabaseUnavailableError, match="`username` and `password`"):
        database.run(is_encrypted, timeout=1)
    assert Secret.name in caplog.text
    check_silence(caplog, PASSWORD)


def test_a_secret_that_is_not_there_is_told_by_its_name(aws: None) -> None:
    with pytest.raises(LoginError, match=r"no/secret cannot be read: .*ResourceNotFoundException"):
        SecretLogin("host=localhost", "no/secret", timeout=5).conninfo()


def test_a_secrets_manager_that_hangs_does_not_hold_answers_up(
    aws: None, make_api: MakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with black_hole() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        api = make_api(
            database_url=SecretStr("host=localhost"),
            database_auth="secret",
            database_secret="s",
            database_pause_seconds=600,
        )
        assert api.recommendations("known").status == 503
        assert "Read timeout" in caplog.text
        assert api.post_events(event("u", "tent")).status == 503, "and is not asked again for a while"
    assert caplog.text.count("Read timeout") == 1


def check_silence(caplog: pytest.LogCaptureFixture, *secrets: str) -> None:
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert lines
    for secret in secrets:
        assert not [line for line in lines if secret in line]


# TLS


@pytest.fixture(scope="module")
def authority(own: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("authority") / "ca.pem")
    own.certify(*authority.certify("localhost"))
    return authority


def over_tls(own: OwnPostgres, shop: str, authority: Authority, host: str) -> Database:
    url = make_conninfo(own.url, host=host, dbname=shop, sslmode="verify-full")
    settings = DatabaseSettings(database_url=SecretStr(url), database_ca=authority.file)
    return Database(settings.login(timeout=2), connect_timeout=5, pause=0, statement_timeout=5)


def test_a_server_that_proves_who_it_is_is_spoken_to_over_tls(
    own: OwnPostgres, shop: str, authority: Authority
) -> None:
    database = over_tls(own, shop, authority, "localhost")
    assert database.run(is_encrypted, timeout=5)
    database.close()


def is_encrypted(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    return row == (True,)


def test_a_server_that_another_authority_vouches_for_is_no_database(
    own: OwnPostgres, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other.pem")
    with pytest.raises(DatabaseUnavailableError):
        over_tls(own, "postgres", other, "localhost").run(is_encrypted, timeout=5)
    assert "certificate verify failed" in caplog.text


def test_a_server_under_another_name_is_no_database(
    own: OwnPostgres, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DatabaseUnavailableError):
        over_tls(own, "postgres", authority, "127.0.0.1").run(is_encrypted, timeout=5)
    assert "does not match host name" in caplog.text


def test_a_caller_of_a_function_that_does_not_trust_its_database_gets_503(
    own: OwnPostgres, shop: str, authority: Authority, tmp_path: Path
) -> None:
    url = make_conninfo(own.url, host="localhost", dbname=shop, sslmode="verify-full")
    with environments(own.url) as make:
        trusting = make(database_url=SecretStr(url), database_ca=authority.file)
        assert trusting.recommendations("known").document["source"] == "personalized"
        distrusting = make(database_url=SecretStr(url), database_ca=Authority(tmp_path / "other.pem").file)
        assert distrusting.recommendations("known").status == 503
        assert distrusting.get("/ready").status == 503


# Lightness


def test_botocore_is_imported_with_the_first_connection_and_not_before(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem")
    program = (
        "import sys, lambdas.recommendations_api.handler as handler\n"
        "handler._environment._begin()\n"
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])\n"
        "handler._environment._parts.database._login.conninfo()\n"
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])\n"
    )
    variables = {
        "DATABASE_URL": VERIFIED,
        "DATABASE_AUTH": "iam",
        "DATABASE_CA": str(authority.file),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[]\n['botocore']\n"


def test_the_log_of_a_failed_start_holds_no_password() -> None:
    program = "import lambdas.recommendations_api.handler"
    for url in (f"postgresql://api:{PASSWORD}@db.test/shop", f"postgresql://api:{PASSWORD}%zz@db.test/shop"):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PATH": "", "DATABASE_URL": url, "DATABASE_AUTH": "iam"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 1
        assert "DATABASE_URL" in ended.stderr
        assert PASSWORD not in ended.stderr + ended.stdout
