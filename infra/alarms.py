"""Stack: alarms for what Prometheus cannot see: what only AWS knows, and that Prometheus itself is down."""

from typing import TYPE_CHECKING, Final

from aws_cdk import (
    CfnOutput,
    Duration,
    Stack,
    aws_budgets,
    aws_cloudwatch,
    aws_events,
    aws_events_targets,
    aws_logs,
)
from constructs import Construct

from infra.api import ApiStack
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.alarm import Alarm
from infra.constructs.database import RdsDatabase
from infra.constructs.python_function import PythonFunction
from infra.data import DataStack

if TYPE_CHECKING:
    from infra.orchestration import OrchestrationStack

FIVE_MINUTES: Final = Duration.minutes(5)
FIFTEEN_MINUTES: Final = Duration.minutes(15)
PARTITIONS: Final = "shop_housekeeping_partitions_ahead_days"
GIB: Final = 2**30


class AlarmsStack(Stack):
    """Alarms and the budget; all of them ring one topic."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        data: DataStack,
        api: ApiStack,
        orchestration: "OrchestrationStack | None",
    ) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: alarms and budget")
        self._config = config
        self._topic = data.topic
        self._watch_edge(api)
        for function in (api.read, api.write, api.housekeeping, data.migrate_database):
            self._watch_function(function)
        self._watch_housekeeping(api.housekeeping)
        if isinstance(data.database, RdsDatabase):
            self._watch_database(data.database)
        self._watch_trainings()
        if orchestration is not None:
            self._watch_airflow(orchestration.environment_name)
        if config.budget_usd is not None:
            self._set_budget(config.budget_usd)
        CfnOutput(self, "TopicArn", value=self._topic.topic_arn, description="What alarms ring")

    def _alarm(
        self,
        construct_id: str,
        metric: aws_cloudwatch.IMetric,
        what_to_do: str,
        *,
        above: float | None = None,
        below: float | None = None,
        silence_is_bad: bool = False,
    ) -> None:
        Alarm(
            self,
            construct_id,
            name=f"{self._config.prefix}-{_dashed(construct_id)}",
            topic=self._topic,
            metric=metric,
            above=above,
            below=below,
            what_to_do=what_to_do,
            silence_is_bad=silence_is_bad,
        )

    def _watch_edge(self, api: ApiStack) -> None:
        rest = api.edge.api
        failed_share = aws_cloudwatch.MathExpression(
            expression="IF(requests > 20, 100 * errors / requests, 0)",
            using_metrics={
                "errors": rest.metric_server_error(period=FIVE_MINUTES, statistic="Sum"),
                "requests": rest.metric_count(period=FIVE_MINUTES, statistic="Sum"),
            },
            period=FIVE_MINUTES,
            label="answers 5xx, %",
        )
        self._alarm(
            "ApiErrors",
            failed_share,
            "More than 1 % of the answers are 5xx. Look at the functions' alarms first, then at the access"
            f" log {api.edge.access_logs.node.path}: `status` and `error`.",
            above=1,
        )
        self._alarm(
            "ApiLatency",
            rest.metric_latency(period=FIVE_MINUTES, statistic="p99"),
            "One answer in a hundred takes more than 2 s. Is the database busy, or do many environments"
            " start?",
            above=2000,
        )

    def _watch_function(self, function: PythonFunction) -> None:
        name = function.node.id
        self._alarm(
            f"{name}Errors",
            function.function.metric_errors(period=FIVE_MINUTES, statistic="Sum"),
            "Invocations fail: by an exception, by their time or by their memory. The function's log says"
            " which.",
            above=1,
        )
        self._alarm(
            f"{name}Throttles",
            function.function.metric_throttles(period=FIVE_MINUTES, statistic="Sum"),
            "More is asked at once than the function's concurrency, or the account's, allows: raise the"
            " setting of its reserved concurrency together with the database's connections, or the"
            " account's quota.",
            above=0,
        )
        self._alarm(
            f"{name}Duration",
            function.function.metric_duration(period=FIVE_MINUTES, statistic="Maximum"),
            "An invocation came near its time-out. Is the database busy?",
            above=0.8 * function.timeout.to_milliseconds(),
        )

    def _watch_housekeeping(self, function: PythonFunction) -> None:
        filtered = aws_logs.MetricFilter(
            self,
            "PartitionsAhead",
            log_group=function.log_group,
            # As AWS writes it for numbers; the CDK's own `exists` asks for a text.
            filter_pattern=aws_logs.FilterPattern.literal(f"{{ $.measures.{PARTITIONS} = * }}"),
            metric_namespace=f"{self._config.prefix}/housekeeping",
            metric_name="partitions_ahead_days",
            metric_value=f"$.measures.{PARTITIONS}",
        )
        self._alarm(
            "EventPartitions",
            filtered.metric(period=FIFTEEN_MINUTES, statistic="Minimum"),
            "Partitions for posted events are made less than 3 days ahead, or housekeeping no longer says"
            " so: its log names the part that failed. Until they are made posts make them themselves, and"
            " wait for it.",
            below=3,
            silence_is_bad=True,
        )

    def _watch_database(self, database: RdsDatabase) -> None:
        identifier = database.identifier(self)

        def metric(name: str, statistic: str) -> aws_cloudwatch.Metric:
            return aws_cloudwatch.Metric(
                namespace="AWS/RDS",
                metric_name=name,
                dimensions_map={"DBInstanceIdentifier": identifier},
                period=FIVE_MINUTES,
                statistic=statistic,
            )

        self._alarm(
            "DatabaseStorage",
            metric("FreeStorageSpace", "Minimum"),
            "Less than 2 GiB are free. Storage grows by itself up to database_max_storage_gb: raise it. Are"
            " posted events exported, and versions retired?",
            below=2 * GIB,
        )
        self._alarm(
            "DatabaseCpu",
            metric("CPUUtilization", "Average"),
            "The database's CPU is above 80 %. Is a load running? Else take a larger database_instance.",
            above=80,
        )
        self._alarm(
            "DatabaseConnections",
            metric("DatabaseConnections", "Maximum"),
            f"More than 80 % of the {self._config.max_connections} connections are taken: lower the reserved"
            " concurrency or take a larger database_instance.",
            above=0.8 * self._config.max_connections,
        )
        self._alarm(
            "DatabaseMemory",
            metric("FreeableMemory", "Minimum"),
            "Less than 64 MiB of the database's memory can be freed: it will be slow, or restart. Take a"
            " larger database_instance.",
            below=64 * 2**20,
        )

    def _watch_trainings(self) -> None:
        rule = aws_events.Rule(
            self,
            "FailedTraining",
            description="A training of this deployment failed, or was stopped",
            event_pattern=aws_events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Training Job State Change"],
                detail={
                    "TrainingJobName": aws_events.Match.prefix(f"{self._config.prefix}-"),
                    "TrainingJobStatus": ["Failed", "Stopped"],
                },
            ),
        )
        name = aws_events.EventField.from_path("$.detail.TrainingJobName")
        status = aws_events.EventField.from_path("$.detail.TrainingJobStatus")
        reason = aws_events.EventField.from_path("$.detail.FailureReason")
        rule.add_target(
            aws_events_targets.SnsTopic(
                self._topic,
                message=aws_events.RuleTargetInput.from_text(
                    f"Training {name}: {status}. {reason} The version that is served stays; the log group"
                    " /aws/sagemaker/TrainingJobs has the job's log."
                ),
            )
        )
        acknowledge(
            rule,
            {"Serverless-EventBusDLQ": "EventBridge tries for a day; the retrain tells of it, too."},
        )

    def _watch_airflow(self, environment_name: str) -> None:
        self._alarm(
            "AirflowScheduler",
            aws_cloudwatch.Metric(
                namespace="AmazonMWAA",
                metric_name="SchedulerHeartbeat",
                dimensions_map={"Function": "Scheduler", "Environment": environment_name},
                period=FIFTEEN_MINUTES,
                statistic="Sum",
            ),
            "Airflow's scheduler does not say that it is alive: no retrain will start. What is served"
            f" stays. The log group airflow-{environment_name}-Scheduler, and the environment's page in the"
            " console.",
            below=1,
            silence_is_bad=True,
        )

    def _set_budget(self, budget_usd: float) -> None:
        """Of the whole account: a filter by tag counts nothing until the tag is activated for billing."""
        told = {"subscriptionType": "SNS", "address": self._topic.topic_arn}
        aws_budgets.CfnBudget(
            self,
            "Budget",
            budget={
                "budgetName": self._config.prefix,
                "budgetType": "COST",
                "timeUnit": "MONTHLY",
                "budgetLimit": {"amount": budget_usd, "unit": "USD"},
            },
            notifications_with_subscribers=[
                {
                    "notification": {
                        "notificationType": kind,
                        "comparisonOperator": "GREATER_THAN",
                        "threshold": threshold,
                        "thresholdType": "PERCENTAGE",
                    },
                    "subscribers": [told],
                }
                for kind, threshold in (("FORECASTED", 80), ("ACTUAL", 100))
            ],
        )


def _dashed(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
