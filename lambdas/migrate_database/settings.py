"""What the set-up is told by its environment variables, read once at the edge."""

import importlib.util
from typing import Self

from psycopg.conninfo import make_conninfo
from pydantic import model_validator

from lambdas.database_login import DatabaseSettings, IamLogin, Secret


class Settings(DatabaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    mlflow_database_secret: str | None = None
    """The name or ARN of the secret that MLflow logs in with: a JSON object with `username`, which is
    `mlflow`, and `password`. Without it MLflow gets no database."""

    @model_validator(mode="after")
    def _can_read_the_secret(self) -> Self:
        if self.mlflow_database_secret is not None and importlib.util.find_spec("botocore") is None:
            raise ValueError("MLFLOW_DATABASE_SECRET needs botocore: Lambda's Python runtime has it")
        return self

    def token_login(self) -> IamLogin | None:
        """What to log in with where Postgres refuses the secret's password; None where the URL names nobody.

        From Postgres 16 on whoever makes a role is a member of it, and RDS takes no password from members of
        `rds_iam`. Whether it counts those who only are members of its members, nobody says: either way in.
        """
        known = self._url_parameters()
        if self.database_auth != "secret" or not (known.get("host") and known.get("user")):
            return None
        return IamLogin(make_conninfo(**known))

    def mlflow_secret(self, *, timeout: float) -> Secret | None:
        """What MLflow logs in with; AWS may take `timeout` seconds to connect, and to answer."""
        name = self.mlflow_database_secret
        return None if name is None else Secret(name, timeout=timeout)
