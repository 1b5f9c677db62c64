"""What the set-up is told by its environment variables, read once at the edge."""

import importlib.util
from typing import Self

from pydantic import model_validator

from lambdas.database_login import DatabaseSettings, Secret


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

    def mlflow_secret(self, *, timeout: float) -> Secret | None:
        """What MLflow logs in with; AWS may take `timeout` seconds to connect, and to answer."""
        name = self.mlflow_database_secret
        return None if name is None else Secret(name, timeout=timeout)
