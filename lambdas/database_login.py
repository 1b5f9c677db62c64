"""How a function logs in to Postgres: as its URL says, as an IAM user, or by a secret that is rotated.

What AWS knows is asked for by botocore. Lambda's Python runtime brings it along, so archives don't hold it,
and it is imported with the first connection, where a login needs it at all.
"""

import importlib.util
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from botocore.session import Session

DatabaseAuth = Literal["url", "iam", "secret"]

_TOKEN_SECONDS: Final = 900
"""How long RDS takes a token, which is only looked at while a connection opens."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class LoginError(Exception):
    """AWS does not tell what to log in with; never with a part of it."""


class Login(Protocol):
    """What a new connection is opened with."""

    def conninfo(self) -> str:
        """A connection string for one new connection. Raises LoginError."""

    def renew(self) -> bool:
        """Whether there is another password than the one that was refused. Raises LoginError."""


class DatabaseSettings(BaseSettings):
    """Where Postgres is, and how to log in. Each field is the environment variable of the same name."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # The inputs hold a password, and errors of settings go to logs.
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    database_url: SecretStr
    """Where Postgres is, as libpq understands it: `postgresql://user:password@host/name?sslmode=verify-full`."""
    database_auth: DatabaseAuth = "url"
    """What to log in with: `url`, the password in `DATABASE_URL`; `iam`, a token of RDS, a new one for each
    connection; `secret`, what Secrets Manager keeps. With the latter two the URL holds no password, and says
    `sslmode=verify-full`, unless Postgres is on this machine."""
    database_secret: str | None = None
    """For `secret`: its name or ARN. It is a JSON object with `username` and `password`, and with `host`,
    `port` and `dbname` as far as the URL leaves them out."""
    database_ca: FilePath | None = None
    """A file with the certificates of the authorities that may vouch for Postgres, such as RDS's bundle;
    unless the URL names one as `sslrootcert`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        known = self._url_parameters()
        if self.database_auth == "url":
            return self
        if known.get("password"):
            raise ValueError(
                f"DATABASE_URL holds a password, which DATABASE_AUTH={self.database_auth} replaces"
            )
        if self.database_auth == "iam" and not (known.get("host") and known.get("user")):
            raise ValueError("DATABASE_URL has to name host and user for DATABASE_AUTH=iam")
        if self.database_auth == "secret" and self.database_secret is None:
            raise ValueError("DATABASE_SECRET has to name the secret for DATABASE_AUTH=secret")
        if not (_is_here(known) or _is_verified(known)):
            raise ValueError(
                "DATABASE_URL has to say sslmode=verify-full, and DATABASE_CA or its sslrootcert has to "
                f"name a file of certificates, for DATABASE_AUTH={self.database_auth}"
            )
        if importlib.util.find_spec("botocore") is None:
            raise ValueError(
                f"DATABASE_AUTH={self.database_auth} needs botocore: Lambda's Python runtime has it"
            )
        return self

    def login(self, *, timeout: float) -> Login:
        """What these settings log in with; AWS may take `timeout` seconds to connect, and to answer."""
        url = make_conninfo(**self._url_parameters())
        if self.database_auth == "iam":
            return IamLogin(url)
        if self.database_secret is not None and self.database_auth == "secret":
            return SecretLogin(url, self.database_secret, timeout=timeout)
        return UrlLogin(url)

    def _url_parameters(self) -> dict[str, Any]:
        try:
            known = conninfo_to_dict(self.database_url.get_secret_value())
        except ProgrammingError:
            # Not libpq's own words: they quote the part that it cannot read, which may be a password.
            raise ValueError("DATABASE_URL is not a connection string that libpq understands") from None
        if self.database_ca is not None:
            known.setdefault("sslrootcert", str(self.database_ca))
        return known


class UrlLogin:
    """Logs in with what is written down."""

    def __init__(self, url: str) -> None:
        self._url = url

    def conninfo(self) -> str:
        """Always the same."""
        return self._url

    def renew(self) -> bool:
        """There is nothing else."""
        return False


class IamLogin:
    """Logs in to RDS with a token, signed with the function's own credentials."""

    def __init__(self, url: str) -> None:
        """`url` names host and user, by the name that RDS gave the host: the token is good for no other."""
        self._url = url
        known = conninfo_to_dict(url)
        self._host, self._port, self._user = (
            str(known["host"]),
            int(known.get("port") or 5432),
            str(known["user"]),
        )

    def conninfo(self) -> str:
        """With a new token: it is made here, without a call, from credentials that may have changed."""
        return make_conninfo(self._url, password=self._token())

    def renew(self) -> bool:
        """The token that was refused was new."""
        return False

    def _token(self) -> str:
        # As boto3's `generate_db_auth_token`, without making a client for it.
        from botocore.auth import SigV4QueryAuth  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            credentials = self._session.get_credentials()
            region = self._session.get_config_variable("region")
            if credentials is None or region is None:
                raise LoginError("there are no AWS credentials, or there is no AWS_DEFAULT_REGION")
            request = AWSRequest(
                method="GET",
                url=f"https://{self._host}:{self._port}/",
                params={"Action": "connect", "DBUser": self._user},
            )
            signer = SigV4QueryAuth(
                credentials.get_frozen_credentials(), "rds-db", region, expires=_TOKEN_SECONDS
            )
            signer.add_auth(request)
        except BotoCoreError as error:
            raise LoginError(f"there is no token for the database: {error}") from error
        return str(request.url).removeprefix("https://")

    @cached_property
    def _session(self) -> "Session":
        # Its chain of credentials, not the variables alone: with SnapStart Lambda sets no AWS_ACCESS_KEY_ID,
        # but AWS_CONTAINER_CREDENTIALS_FULL_URI, from which they are read and refreshed.
        return _aws_session()


class SecretLogin:
    """Logs in with user and password of a secret, which is read at the first connection."""

    def __init__(self, url: str, secret: str, *, timeout: float) -> None:
        """`url` says all that the secret need not."""
        self._url = url
        self._secret = Secret(secret, timeout=timeout)
        self._fields: dict[str, str] | None = None

    def conninfo(self) -> str:
        """With what the secret said when it was last read."""
        if self._fields is None:
            self._fields = self._secret.read()
        known: dict[str, Any] = {
            name: self._fields[name] for name in ("host", "port", "dbname") if name in self._fields
        }
        known.update(conninfo_to_dict(self._url))
        known.update(user=self._fields["username"], password=self._fields["password"])
        return make_conninfo(**known)

    def renew(self) -> bool:
        """Read it again: it may have been rotated since."""
        before, self._fields = self._fields, None
        self._fields = self._secret.read()
        return self._fields != before


class Secret:
    """User and password as Secrets Manager keeps them."""

    def __init__(self, name: str, *, timeout: float) -> None:
        """`name` may be an ARN. AWS may take `timeout` seconds to connect, and to answer."""
        self.name = name
        self._timeout = timeout

    def read(self) -> dict[str, str]:
        """Its fields, `username` and `password` among them. Raises LoginError."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            answer = self._client.get_secret_value(SecretId=self.name)
        except (BotoCoreError, ClientError) as error:
            raise LoginError(f"the secret {self.name} cannot be read: {error}") from error
        try:
            document = json.loads(answer.get("SecretString", ""))
        except ValueError:
            document = None
        if not (isinstance(document, dict) and all(document.get(name) for name in ("username", "password"))):
            raise LoginError(f"the secret {self.name} is no JSON object with `username` and `password`")
        return {name: str(value) for name, value in document.items()}

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        # One attempt: an answer waits for it. The next connection is the next attempt.
        config = Config(
            connect_timeout=self._timeout, read_timeout=self._timeout, retries={"total_max_attempts": 1}
        )
        return _aws_session().create_client("secretsmanager", config=config)


def _aws_session() -> "Session":
    from botocore.session import Session  # noqa: PLC0415

    return Session()


def _is_here(parameters: dict[str, Any]) -> bool:
    # Where an address is given, it is what libpq connects to, whatever the host is called.
    return "host" in parameters and all(
        parameters.get(name, "::1") in _LOOPBACK for name in ("host", "hostaddr")
    )


def _is_verified(parameters: dict[str, Any]) -> bool:
    return parameters.get("sslmode") == "verify-full" and bool(parameters.get("sslrootcert"))
