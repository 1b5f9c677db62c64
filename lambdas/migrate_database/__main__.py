"""`python -m lambdas.migrate_database`: bring the database that `DATABASE_URL` names up to date."""

import argparse
import os
import sys
from collections.abc import Iterator

import psycopg
from pydantic import SecretStr, ValidationError

from lambdas.migrate_database.errors import SetUpError
from lambdas.migrate_database.handler import AWS_SECONDS
from lambdas.migrate_database.migrate import migrate
from lambdas.migrate_database.set_up import set_up
from lambdas.migrate_database.settings import Settings


def main() -> int:
    """Migrate, and tell what was applied; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lambdas.migrate_database", description=__doc__)
    parser.add_argument(
        "--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL"
    )
    parser.add_argument(
        "--with-roles",
        action="store_true",
        help="do all that the function does at a deployment, by its variables: roles, which belong to the "
        "whole server, MLflow's database, grants",
    )
    given = parser.parse_args()
    if not given.database_url:
        parser.error("no database: give --database-url, or set DATABASE_URL")
    bring_up_to_date = _set_up if given.with_roles else _migrate
    try:
        done = list(bring_up_to_date(given.database_url))
    except (psycopg.Error, SetUpError, ValidationError) as error:
        told = " ".join([str(error).rstrip(), *getattr(error, "__notes__", ())])
        sys.stderr.write(f"the schema is as it was: {told}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in done) or "nothing to apply\n")
    return 0


def _migrate(database_url: str) -> Iterator[str]:
    for name in migrate(database_url):
        yield f"applied {name}"


def _set_up(database_url: str) -> Iterator[str]:
    settings = Settings(database_url=SecretStr(database_url))
    login, secret = settings.login(timeout=AWS_SECONDS), settings.mlflow_secret(timeout=AWS_SECONDS)
    report = set_up(login, mlflow=secret)
    yield from (f"made the role {name}" for name in report.roles)
    yield from (f"made the database {name}" for name in report.databases)
    if report.handed_over:
        yield f"handed over {report.handed_over} tables and functions"
    yield from (f"applied {name}" for name in report.applied)


if __name__ == "__main__":
    sys.exit(main())
