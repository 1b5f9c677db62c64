"""The authorities that vouch for RDS's servers, in every archive of a function that connects to one."""

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography import x509

from lambdas import rds_ca
from lambdas.archive import FUNCTIONS
from lambdas.rds_ca import FILE, roots_of_rds, written
from tests.lambdas.certificates import Authority
from tests.lambdas.own_postgres import OwnPostgres, own_postgres

NOW = dt.datetime(2026, 1, 31, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def certificates() -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(FILE.read_bytes())


@pytest.fixture(scope="module")
def own(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    """A server that speaks TLS, and that an authority of the test's own vouches for."""
    authority = Authority(tmp_path_factory.mktemp("authority") / "ca.pem")
    with own_postgres(logs / "tls.log") as server:
        try:
            server.certify(*authority.certify("localhost"))
        except psycopg.errors.InvalidParameterValue as error:
            pytest.skip(f"the server that was found speaks no TLS: {error}")
        yield server


def test_they_are_rdss_own_roots_and_still_good(certificates: list[x509.Certificate]) -> None:
    assert len(certificates) > 80
    for each in certificates:
        assert "Amazon RDS" in each.subject.rfc4514_string()
        assert each.subject == each.issuer
        assert each.not_valid_after_utc > NOW
        each.verify_directly_issued_by(each)


@pytest.mark.parametrize("region", ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-southeast-2"])
@pytest.mark.parametrize("kind", ["RSA2048", "RSA4096", "ECC384"])
def test_a_region_has_its_roots(certificates: list[x509.Certificate], region: str, kind: str) -> None:
    assert [each for each in certificates if f"Amazon RDS {region} Root CA {kind} G1" in str(each.subject)]


def test_each_is_named_above_it_and_they_are_in_order(certificates: list[x509.Certificate]) -> None:
    text = FILE.read_text()
    assert text == written(roots_of_rds(FILE.read_bytes(), now=NOW))
    names = [line for line in text.splitlines() if line.startswith("# CN=")]
    assert names == sorted(names)
    assert len(names) == len(certificates)


def test_what_is_old_in_between_or_somebody_elses_is_left_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem")
    bundle = FILE.read_bytes() + authority.file.read_bytes() + authority.certify("Amazon RDS")[0]
    assert written(roots_of_rds(bundle, now=NOW)) == FILE.read_text()
    assert roots_of_rds(bundle, now=NOW.replace(year=2200)) == []


def test_libpq_reads_them_and_trusts_nobody_elses_server(own: OwnPostgres) -> None:
    url = f"host=localhost port={own.port} user=postgres dbname=postgres sslmode=verify-full"
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(f"{url} sslrootcert={FILE}")
    with pytest.raises(psycopg.OperationalError, match="could not (read|load)|does not exist"):
        psycopg.connect(f"{url} sslrootcert={__file__}")


def test_libpq_trusts_a_server_that_one_of_them_vouches_for(own: OwnPostgres, tmp_path: Path) -> None:
    # One more among them: all are read, the first as the last.
    authority = Authority(tmp_path / "ca.pem")
    both = tmp_path / "both.pem"
    both.write_bytes(FILE.read_bytes() + authority.file.read_bytes())
    own.certify(*authority.certify("localhost"))
    url = f"host=localhost port={own.port} user=postgres dbname=postgres sslmode=verify-full"
    with psycopg.connect(f"{url} sslrootcert={both}") as connection:
        assert connection.pgconn.ssl_in_use


@pytest.mark.parametrize("name", ["recommendations_api", "migrate_database", "housekeeping"])
def test_the_archives_of_functions_that_connect_hold_them(name: str) -> None:
    assert "lambdas/rds_ca.pem" in FUNCTIONS[name].code
    assert FILE.relative_to(Path(__file__).parents[2]).as_posix() == "lambdas/rds_ca.pem"


def test_the_program_makes_the_file_anew_or_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = FILE.read_text()
    monkeypatch.setattr(rds_ca, "FILE", tmp_path / "rds_ca.pem")
    monkeypatch.setattr(sys, "argv", ["rds_ca", str(FILE)])
    assert rds_ca.main() == 0
    assert (tmp_path / "rds_ca.pem").read_text() == before
    monkeypatch.setattr(sys, "argv", ["rds_ca", __file__])
    assert rds_ca.main() == 1
    assert "holds no certificates that can be read" in capsys.readouterr().err
    assert (tmp_path / "rds_ca.pem").read_text() == before
