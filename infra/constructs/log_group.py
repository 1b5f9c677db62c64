"""Where logs go, and for how long."""

from aws_cdk import RemovalPolicy, aws_logs
from constructs import Construct

from infra.config import LOG_RETENTION_DAYS, Config

# CDK's names for the very numbers, in their order; the last one is for ever.
_RETENTION = dict(zip(LOG_RETENTION_DAYS, list(aws_logs.RetentionDays)[:-1], strict=True))


def retention(config: Config) -> aws_logs.RetentionDays:
    """How long logs are kept, in CDK's words."""
    return _RETENTION[config.log_retention_days]


class LogGroup(aws_logs.LogGroup):
    """Kept as long as the settings say, and gone with its stack: one that stays would keep its name taken."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, name: str | None = None
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            log_group_name=name,
            retention=retention(config),
            removal_policy=RemovalPolicy.DESTROY,
        )
