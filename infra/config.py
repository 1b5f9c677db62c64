"""The settings of a deployment, typed, frozen and checked.

Each can be given as `-c NAME=VALUE`, or stand in a TOML file that `-c settings=FILE` names; the first counts.

Nothing else in `infra/` reads context or environment: stacks and constructs take a `Config`.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from infra.errors import ConfigError
from infra.impossible import impossible

Stage = Literal["dev", "prod", "local"]
Authorization = Literal["iam", "jwt", "api_key"]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

_CONNECTIONS_PER_GIB: Final = 80
"""RDS itself allows one for each 9,531,392 bytes that the instance has left over, about 100 for a GiB."""

_GIB: Final[Mapping[str, Mapping[str, int]]] = {
    "t4g": {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32},
    "m7g": {"large": 8, "xlarge": 16, "2xlarge": 32, "4xlarge": 64, "8xlarge": 128},
    "r7g": {"large": 16, "xlarge": 32, "2xlarge": 64, "4xlarge": 128, "8xlarge": 256},
}
"""Memory of a database's instance, by family and size: https://aws.amazon.com/rds/instance-types/."""

DATABASE_INSTANCES: Final = tuple(f"{family}.{size}" for family, sizes in _GIB.items() for size in sizes)

LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""What CloudWatch Logs takes."""


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _tagged(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _listed(value)]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("expected NAME=VALUE, several of them separated by commas")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _no_truth_value(value: Any) -> Any:
    # Pydantic takes true for 1.
    if isinstance(value, bool):
        raise ValueError("expected a number, not a truth value")  # noqa: TRY004 - pydantic's
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Tags = Annotated[dict[str, str], BeforeValidator(_tagged)]
Count = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(_no_truth_value), Field(ge=1)]
Amount = Annotated[float, BeforeValidator(_no_truth_value), Field(gt=0)]
Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:[a-z0-9-]+:.+$")]
Url = Annotated[str, Field(pattern=r"^https://[^/\s]+(/\S*)?$")]
LocalUrl = Annotated[str, Field(pattern=r"^http://[^/\s]+$")]
Image = Annotated[str, Field(pattern=r"^\S+[:@]\S+$")]
VpcId = Annotated[str, Field(pattern=r"^vpc-([0-9a-f]{8}|[0-9a-f]{17})$")]
Snapshot = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9:_-]*$")]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class Config(BaseModel):
    """What a deployment can be told. Defaults are those of `dev`; STAGE_DEFAULTS has the others'."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    stage: Stage
    """What is deployed: `dev`, small and disposable; `prod`, protected against loss; `local`, for
    LocalStack."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}[a-z0-9]$")] = "shop"
    """What names of stacks and resources begin with, before the stage. Another name is another deployment."""
    protected: bool = False
    """Whether stacks with data refuse to be deleted, and what is deleted of the database leaves a
    snapshot."""
    tags: Tags = Field(default_factory=dict)
    """Tags for everything, beside `application` and `stage`: `team=web,cost-center=42`."""
    log_retention_days: Count = 14
    """How long logs are kept."""

    vpc_cidr: str = "10.40.0.0/16"
    """Addresses of the VPC that is made, or those of the one that is given."""
    nat_gateways: Annotated[Count, Field(le=2)] = 1
    """NAT gateways of the VPC that is made. One is enough, and its zone's loss stops what goes out: image
    pulls, retrains. The API needs none. 0 is for `local` alone."""
    vpc_id: VpcId | None = None
    """An existing VPC to deploy into, with `availability_zones`, `private_subnet_ids` and `vpc_cidr`."""
    availability_zones: Texts = ()
    """Of an existing VPC: the zones of its private subnets, in their order."""
    private_subnet_ids: Texts = ()
    """Of an existing VPC: two private subnets in different zones, with a way out through a NAT."""
    public_subnet_ids: Texts = ()
    """Of an existing VPC: two public subnets; only a load balancer that the internet may reach needs them."""
    private_route_table_ids: Texts = ()
    """Of an existing VPC: the route tables of its private subnets, for a gateway endpoint to S3. Without them
    none is made: then the VPC should have one, or the NAT bears the data."""

    database_instance: str = "t4g.micro"
    """The class of the RDS instance, without `db.`."""
    database_storage_gb: Annotated[Positive, Field(ge=20)] = 20
    """Storage to begin with."""
    database_max_storage_gb: Positive = 100
    """How far storage grows by itself."""
    database_multi_az: bool = False
    """Whether a standby in another zone takes over when the first one fails."""
    database_backup_days: Annotated[Count, Field(ge=1, le=35)] = 7
    """How long automatic backups are kept: to any second within them the database can be restored."""
    database_connections: Positive | None = None
    """`max_connections` of Postgres. Default: 80 for each GiB of the instance."""
    database_snapshot: Snapshot | None = None
    """A snapshot, by name or ARN, that the database is made from. Changing it replaces the database."""
    database_secret: str | None = None
    """For `local` alone: the name of a secret that says where Postgres is and how to log in, because
    LocalStack runs none."""

    authorization: Authorization = "iam"
    """Who may call: `iam`, signed requests; `jwt`, also tokens of `jwt_issuer`; `api_key`, for trying things
    out. What operators do takes IAM in each of them."""
    jwt_issuer: Url | None = None
    """For `jwt`: what the tokens' claim `iss` says."""
    jwt_audience: Texts = ()
    """For `jwt`: whom tokens are for, one of which the claim `aud` names. This or `jwt_client_ids`."""
    jwt_client_ids: Texts = ()
    """For `jwt`: clients, one of which the claim `client_id` names where there is no `aud`, as Cognito's
    access tokens."""
    jwt_scope_prefix: str | None = None
    """For `jwt`: what stands before `read` and `write` in the tokens' scopes, such as `shop/`."""
    snap_start: bool = False
    """Whether the functions of the API start from a snapshot of a started one, which takes most of a cold
    start away."""
    read_concurrency: Positive | None = None
    """Reserved concurrency of the function that answers: as many at once, and as many connections, not more.
    A new account's quota of 10 allows no reservation, so that there is none by default in `dev`."""
    write_concurrency: Positive | None = None
    """The same of the function that takes events."""
    function_memory_mb: Annotated[Positive, Field(ge=256, le=10240)] = 1024
    """Memory of the API's functions; Lambda gives CPU in proportion, a whole core at 1,769."""
    throttle_rate: Amount = 100
    """Requests a second that API Gateway lets through in the long run."""
    throttle_burst: Positive = 200
    """How many it lets through at once."""
    api_gateway_log_role: bool = True
    """Whether this deployment sets the role that API Gateway logs as, of which an account has one a region.
    Where another one has set it, `false` leaves that alone."""
    tracing: bool = False
    """Whether X-Ray follows a sample of the requests; it charges by the trace."""
    waf: bool = False
    """Whether a web application firewall stands before the API: AWS's common rules, and a limit for each
    address."""
    waf_rate_limit: Annotated[Positive, Field(ge=10)] | None = None
    """Requests that one address may send in five minutes. Default: all that `throttle_rate` lets through,
    because where the shop's own servers call, few addresses are all visitors."""
    domain_name: str | None = None
    """A name of the shop's own for the API, with `domain_certificate`."""
    domain_certificate: Arn | None = None
    """The ARN of its certificate in Certificate Manager, in the deployment's region."""
    hosted_zone_id: str | None = None
    """The zone in Route 53 that gets the record of `domain_name`, with `hosted_zone_name`. Without it, make
    the record yourself."""
    hosted_zone_name: str | None = None
    """The name of that zone."""
    cors_origins: Texts = ()
    """Origins whose pages may call from a browser, such as `https://www.shop.example`; none unless given."""

    training_image: Image | None = None
    """An image of the training that CI has pushed, best with its digest: `…/training@sha256:…`. Default:
    CodeBuild builds it during the deploy."""
    training_instance: Annotated[str, Field(pattern=r"^ml\.[a-z0-9]+\.[a-z0-9]+$")] = "ml.m7i.xlarge"
    """What SageMaker trains on."""
    training_spot: bool = True
    """Whether it trains on spot capacity: a third of the price; a job that is interrupted goes on from its
    checkpoint."""
    training_max_hours: Annotated[Positive, Field(le=120)] = 6
    """After so long a training is stopped. With spot it may wait as long again for capacity."""
    training_volume_gb: Positive = 30
    """Disk of a training."""

    monitoring: bool = True
    """Whether MLflow, pushgateway, Prometheus and Grafana run, on Fargate."""
    container_insights: bool = False
    """Whether CloudWatch has CPU and memory of each of these servers; it costs about as much as they do."""
    load_balancer: bool = True
    """Whether people reach Grafana and MLflow through a load balancer. Machines don't need it."""
    monitoring_certificate: Arn | None = None
    """The ARN of a certificate for the load balancer. Without one it is internal, and closed."""
    monitoring_domain: str | None = None
    """The name that the certificate is for, under which people reach the load balancer."""
    monitoring_cidrs: Texts = ()
    """From where people may reach the load balancer, such as `203.0.113.0/24`. With `oidc_issuer` everywhere
    is allowed."""
    oidc_issuer: Url | None = None
    """Who tells the load balancer who somebody is; with the four settings below and a certificate it lets in
    who is logged in there."""
    oidc_authorization_endpoint: Url | None = None
    """Of that issuer."""
    oidc_token_endpoint: Url | None = None
    """Of that issuer."""
    oidc_user_info_endpoint: Url | None = None
    """Of that issuer."""
    oidc_client_id: str | None = None
    """As which client the load balancer asks."""
    oidc_client_secret: Arn | None = None
    """The ARN of a secret in Secrets Manager whose text is that client's."""
    mlflow_url: LocalUrl | None = None
    """For `local` alone: where MLflow runs on this machine, because LocalStack runs no containers."""
    prometheus_url: LocalUrl | None = None
    """For `local` alone: the same of Prometheus."""
    pushgateway_url: LocalUrl | None = None
    """For `local` alone: the same of the pushgateway."""
    mlflow_image: Image | None = None
    """An image to run instead of the one that CodeBuild makes of `infra/mlflow/Dockerfile`. It has `mlflow`
    and `python` on its PATH, and RDS's certificates at `/etc/ssl/rds_ca.pem`."""
    grafana_image: Image | None = None
    """An image to run instead of the one that CodeBuild makes of `grafana/Dockerfile`."""
    prometheus_image: Image | None = None
    """An image to run instead of the one that CodeBuild makes of `grafana/prometheus/Dockerfile`."""

    mwaa: bool = False
    """Whether Airflow runs, in Amazon MWAA: it costs the most of all, even idle."""
    mwaa_version: Annotated[str, Field(pattern=r"^3\.\d+\.\d+$")] = "3.2.1"
    """The version of Airflow."""
    mwaa_class: Literal["mw1.micro", "mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge"] = (
        "mw1.small"
    )
    """The size of the environment."""
    mwaa_max_workers: Annotated[Positive, Field(le=25)] = 2
    """How many workers it may have."""
    mwaa_web_server: Literal["private", "public"] = "private"
    """From where people reach Airflow's pages: out of the VPC alone, as by a VPN, or from the internet.
    To log in takes IAM in either case."""
    retrain_schedule: str | None = None
    """When the retrain runs, as cron has it, in UTC: `17 3 * * *`. It takes `mwaa`. Without it the DAG runs
    when asked to."""
    slack_webhook_secret: Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{1,512}$")] | None = None
    """The name of a secret in Secrets Manager whose text is the URL of a Slack webhook: what the DAGs tell by
    mail, they tell there, too. It takes `mwaa`. Its key has to be the one that Secrets Manager brings."""

    alarm_email: Email | None = None
    """Who is told of alarms, once they have confirmed it. Without it the topic is there, and nobody
    listens."""
    budget_usd: Amount | None = None
    """What a month may cost before somebody is told, at 80 % forecast and at 100 % spent. Without it there is
    no budget."""

    @field_validator("log_retention_days")
    @classmethod
    def _is_taken_by_cloudwatch(cls, value: int) -> int:
        if value not in LOG_RETENTION_DAYS:
            raise ValueError(f"expected one of {', '.join(map(str, LOG_RETENTION_DAYS))}")
        return value

    @field_validator("database_instance")
    @classmethod
    def _is_known(cls, value: str) -> str:
        value = value.removeprefix("db.")
        if value not in DATABASE_INSTANCES:
            raise ValueError(f"expected one of {', '.join(DATABASE_INSTANCES)}")
        return value

    @field_validator("vpc_cidr")
    @classmethod
    def _is_a_private_network(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        if not 16 <= network.prefixlen <= 24:
            raise ValueError("expected a network of /16 to /24, such as 10.40.0.0/16")
        return str(network)

    @field_validator("monitoring_cidrs")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        networks = [ipaddress.IPv4Network(cidr) for cidr in value]
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("0.0.0.0/0 is everybody: name networks, or set oidc_issuer")
        return tuple(map(str, networks))

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https://[^/*\s]+|http://localhost(:\d+)?", origin):
                raise ValueError(f"{origin} is no origin: expected such as https://www.shop.example")
        return value

    @field_validator("retrain_schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None and len(value.split()) != 5:
            raise ValueError("expected five fields of cron, such as 17 3 * * *")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _absent_where_empty(cls, value: Any) -> Any:
        # `-c NAME=` takes a stage's default back.
        return None if value == "" else value

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        problems = list(impossible(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def prefix(self) -> str:
        """What names of resources begin with."""
        return f"{self.name}-{self.stage}"

    @property
    def namespace(self) -> str:
        """Below this name the servers are found in the VPC, such as `pushgateway.shop-dev.internal`."""
        return f"{self.prefix}.internal"

    @property
    def requests_of_an_address(self) -> int:
        """That the firewall lets through in five minutes."""
        return self.waf_rate_limit or max(10, int(300 * self.throttle_rate))

    @property
    def max_connections(self) -> int:
        """Of Postgres; the parameter group sets it."""
        family, _, size = self.database_instance.partition(".")
        return self.database_connections or min(5000, _CONNECTIONS_PER_GIB * _GIB[family][size])

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Self:
        """Out of CDK's context, where keys with a colon or an `@` are CDK's own.

        Raises ConfigError that tells every problem at once: the setting, what was given, what is expected.
        """
        given = {name: value for name, value in context.items() if not _is_cdks(name)}
        if "settings" in given:
            given = {**_read(Path(given.pop("settings"))), **given}
        stage = given.get("stage")
        if stage not in STAGES:
            told = "is not set" if stage is None else f"is {stage!r}"
            raise ConfigError(f"stage {told}: expected one of {', '.join(STAGES)}, as in -c stage=dev")
        try:
            return cls.model_validate({**STAGE_DEFAULTS[stage], **given})
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(dict(problem)) for problem in error.errors())) from None


STAGE_DEFAULTS: Final[Mapping[Stage, Mapping[str, Any]]] = {
    "dev": {},
    "prod": {
        "protected": True,
        "log_retention_days": 90,
        "database_instance": "t4g.medium",
        "database_storage_gb": 50,
        "database_max_storage_gb": 500,
        "database_multi_az": True,
        "database_backup_days": 30,
        "snap_start": True,
        "read_concurrency": 100,
        "write_concurrency": 40,
        "throttle_rate": 1000,
        "throttle_burst": 2000,
        "waf": True,
        "container_insights": True,
        "mwaa": True,
        "retrain_schedule": "17 3 * * *",
    },
    "local": {
        "nat_gateways": 0,
        "authorization": "api_key",
        "log_retention_days": 1,
        # LocalStack runs no Postgres and builds no images: the secret leads to a real server on this machine,
        # and the images are names that are never pulled.
        "database_secret": "shop-local/database",
        "training_image": "training:local",
        "mlflow_image": "mlflow:local",
        "grafana_image": "grafana:local",
        "prometheus_image": "prometheus:local",
        "mwaa": True,
    },
}
"""Where a stage's defaults differ from those in Config."""


def _is_cdks(name: str) -> bool:
    return ":" in name or name.startswith("@") or name == "cli-telemetry"


def _read(path: Path) -> dict[str, Any]:
    """Settings out of a file. Raises ConfigError."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"settings={path}: it cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f'settings={path}: expected TOML, lines such as alarm_email = "a@b.c": {error}'
        ) from None


def _explain(problem: dict[str, Any]) -> str:
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(name, Config.model_fields, n=1, cutoff=0)[0]
        return f"{name} is not a setting; the nearest is {nearest}; docs/deploy.md lists them"
    told = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{name}={problem['input']}: {told}"
