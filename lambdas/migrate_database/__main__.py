"""`python -m lambdas.migrate_database`: bring the database that `DATABASE_URL` names up to date."""

import argparse
import os
import sys

import psycopg

from lambdas.migrate_database.migrate import migrate


def main() -> int:
    """Migrate, and tell what was applied; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lambdas.migrate_database", description=__doc__)
    parser.add_argument(
        "--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL"
    )
    given = parser.parse_args()
    if not given.database_url:
        parser.error("no database: give --database-url, or set DATABASE_URL")
    try:
        applied = migrate(given.database_url)
    except psycopg.Error as error:
        sys.stderr.write(f"the database is as it was: {error}\n")
        return 1
    sys.stdout.write("".join(f"applied {name}\n" for name in applied) or "nothing to apply\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
