"""Where everything is, as `deployment.json` says, which the deployment puts beside the DAGs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lambdas.database_login import DatabaseAuth, DatabaseSettings, LoginError
from training.errors import BadInputError, DatabaseError
from training.storage import Folder

FOLDER: Final = Path(os.environ.get("SHOP_DEPLOYMENT", Path(__file__).parents[1]))
"""Where `deployment.json` and `training_job.json` lie: beside the DAGs, unless the environment says where."""

_LOGIN_SECONDS: Final = 10.0


class Deployment(BaseModel):
    """One deployment; `dags/README.md` says what each field is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: str
    region: str
    prefix: str = Field(min_length=1)
    events_uri: str
    recommendations_uri: str
    mlflow_tracking_uri: str
    mlflow_model: str = "shop-recommender"
    pushgateway_url: str | None = None
    prometheus_url: str | None = None
    database_url: str
    database_auth: DatabaseAuth = "url"
    database_ca: str | None = None
    database_secret: str | None = None
    read_function: str
    housekeeping_function: str | None = None
    retrain_schedule: str | None = None
    notification_topic: str | None = None
    slack_webhook_secret: str | None = None

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Self:
        """That of this environment. Raises BadInputError that names what is missing or wrong."""
        document = _read(folder / "deployment.json")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            told = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
            raise BadInputError(f"{folder / 'deployment.json'}: {told}: deploy again") from error

    @property
    def events(self) -> Folder:
        """The bucket with events, rejected rows and the catalogue."""
        return Folder(self.events_uri)

    @property
    def recommendations(self) -> Folder:
        """The bucket with versions, and with what trainings left."""
        return Folder(self.recommendations_uri)

    def conninfo(self) -> str:
        """What one new connection to Postgres is opened with. Raises DatabaseError."""
        # An absolute path stays what it is.
        ca = None if self.database_ca is None else FOLDER / self.database_ca
        given: dict[str, Any] = {
            "database_url": self.database_url,
            "database_auth": self.database_auth,
            "database_secret": self.database_secret,
            "database_ca": ca,
        }
        settings = DatabaseSettings(**given)
        try:
            return settings.login(timeout=_LOGIN_SECONDS).conninfo()
        except LoginError as error:
            raise DatabaseError(f"the database can't be reached: {error}") from error


def training_request(folder: Path = FOLDER) -> dict[str, Any]:
    """What SageMaker is asked for, but for what a single run adds. Raises BadInputError."""
    return dict(_read(folder / "training_job.json"))


def retrain_schedule(folder: Path = FOLDER) -> str | None:
    """When the retrain runs by itself. It is asked while DAGs are parsed, where nothing may fail."""
    try:
        schedule = json.loads((folder / "deployment.json").read_text()).get("retrain_schedule")
    except (OSError, ValueError, AttributeError):
        # The first run says what is wrong with the file.
        return None
    return schedule if isinstance(schedule, str) else None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise BadInputError(f"{file} is missing: the deployment writes it, deploy again") from error
    except ValueError as error:
        raise BadInputError(f"{file} is no JSON: {error}: deploy again") from error
    if not isinstance(document, dict):
        raise BadInputError(f"{file} holds no object: deploy again")
    return document
