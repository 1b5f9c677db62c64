"""What Airflow and its tasks may do."""

from aws_cdk import aws_iam, aws_kms, aws_s3
from constructs import Construct

from contract.s3_layout import (
    BACKFILL_PREFIX,
    CATALOGUE_PREFIX,
    DATA_REPORTS_PREFIX,
    EVENTS_PREFIX,
    GATES_PREFIX,
    MODEL_REPORTS_PREFIX,
    RECOMMENDATIONS_PREFIX,
    REJECTED_PREFIX,
)
from infra.config import Config
from infra.constructs.explained_role import ExplainedRole
from infra.constructs.training_role import LOG_GROUP as TRAINING_LOG_GROUP
from infra.constructs.wildcard import objects
from infra.data import JOBS_PREFIX


class AirflowRole(ExplainedRole):
    """Of the environment; tasks act as it, too, since MWAA knows no other role for them.

    https://docs.aws.amazon.com/mwaa/latest/userguide/mwaa-create-role.html
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, dags: aws_s3.IBucket, key: aws_kms.IKey
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description=f"{config.prefix}: Airflow and its tasks",
            services=["airflow", "airflow-env"],
        )
        self._config = config
        self._allow_environment()
        self._allow_logs()
        self._allow_reading_dags(dags)
        self._allow_key(key)

    def let_keep_events(self, events: aws_s3.IBucket) -> None:
        """Let tasks bring events and catalogues into the bucket, and take deleted users out of it again."""
        self.allow(
            "WriteEvents",
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            on=objects(events, EVENTS_PREFIX, REJECTED_PREFIX, DATA_REPORTS_PREFIX),
            why="Files are named by day and source, and go when they were half-written or replaced.",
        )
        self.allow(
            "WriteCatalogue",
            "s3:GetObject",
            "s3:PutObject",
            on=objects(events, CATALOGUE_PREFIX),
            why="A backfill brings a version of the catalogue; any version may be loaded.",
        )
        self.allow(
            "ReadHistory",
            "s3:GetObject",
            on=objects(events, BACKFILL_PREFIX),
            why="People name the files as they like.",
        )
        self._allow_looking(events, "Events")

    def let_keep_versions(self, recommendations: aws_s3.IBucket) -> None:
        """Let tasks load versions, take deleted users out of them, and delete old ones."""
        self.allow(
            "ReadVersions",
            "s3:GetObject",
            on=objects(
                recommendations, RECOMMENDATIONS_PREFIX, GATES_PREFIX, MODEL_REPORTS_PREFIX, JOBS_PREFIX
            ),
            why="Any version may be loaded again.",
        )
        self.allow(
            "RewriteVersions",
            "s3:PutObject",
            on=objects(recommendations, RECOMMENDATIONS_PREFIX),
            why="A deleted user may be in any version; what one is called, its training says.",
        )
        self.allow(
            "DeleteVersions",
            "s3:DeleteObject",
            on=objects(recommendations, RECOMMENDATIONS_PREFIX, GATES_PREFIX, MODEL_REPORTS_PREFIX),
            why="Every version becomes old, and what was said of it.",
        )
        reports = objects(recommendations, GATES_PREFIX, MODEL_REPORTS_PREFIX)
        # Whoever deletes by Arrow writes an empty object in the folder's name afterwards.
        self.allow("MarkFolders", "s3:PutObject", on=[folder.removesuffix("*") for folder in reports])
        self._allow_looking(recommendations, "Versions")

    def _allow_looking(self, bucket: aws_s3.IBucket, what: str) -> None:
        """What is in a bucket, and what never came to be in it."""
        self.allow(f"See{what}", "s3:ListBucket", "s3:ListBucketMultipartUploads", on=[bucket.bucket_arn])
        self.allow(
            f"Abort{what}",
            "s3:AbortMultipartUpload",
            on=objects(bucket, ""),
            why="An upload that nobody ended may lie anywhere; no object is lost with it.",
        )

    def let_train(self, training_role: aws_iam.IRole) -> None:
        """Let tasks start jobs that act as a role, follow them and stop them."""
        self.allow(
            "Train",
            "sagemaker:CreateTrainingJob",
            "sagemaker:DescribeTrainingJob",
            "sagemaker:StopTrainingJob",
            "sagemaker:AddTags",
            on=[self.arn("sagemaker", f"training-job/{self._config.prefix}-*")],
            why="Jobs of this deployment, which begin with its name.",
        )
        self.allow(
            "PassTrainingRole",
            "iam:PassRole",
            on=[training_role.role_arn],
            StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"},
        )
        group = self.arn("logs", f"log-group:{TRAINING_LOG_GROUP}")
        self.allow(
            "FindTrainingLogs",
            "logs:DescribeLogStreams",
            on=[f"{group}:*"],
            why="A log group in policies ends with an asterisk; it is the one that SageMaker writes to.",
        )
        self.allow(
            "ReadTrainingLogs",
            "logs:GetLogEvents",
            on=[f"{group}:log-stream:{self._config.prefix}-*"],
            why="The streams of this deployment's jobs, which begin with its name.",
        )

    def _allow_environment(self) -> None:
        self.allow(
            "TellHealth",
            "airflow:PublishMetrics",
            on=[self.arn("airflow", f"environment/{self._config.prefix}")],
        )
        self.allow(
            "TellMetrics",
            "cloudwatch:PutMetricData",
            on=["*"],
            why="CloudWatch's metrics are no resource; a condition limits it to Airflow's namespaces.",
            StringEquals={"cloudwatch:namespace": ["AmazonMWAA", "AWS/MWAA"]},
        )
        self.allow(
            "Queue",
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
            on=[self.arn("sqs", "airflow-celery-*", account="*")],
            why="MWAA makes the queue in an account of its own, under a name that it tells nobody.",
        )

    def _allow_logs(self) -> None:
        self.allow(
            "Log",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:GetLogEvents",
            "logs:GetLogGroupFields",
            "logs:GetLogRecord",
            "logs:GetQueryResults",
            "logs:PutLogEvents",
            on=[self.arn("logs", f"log-group:airflow-{self._config.prefix}-*")],
            why="The environment's own five log groups.",
        )
        self.allow(
            "SeeAccount",
            "logs:DescribeLogGroups",
            "s3:GetAccountPublicAccessBlock",
            on=["*"],
            why="Both actions know no resource.",
        )

    def _allow_reading_dags(self, dags: aws_s3.IBucket) -> None:
        self.allow(
            "ReadDags",
            "s3:GetBucket*",
            "s3:GetObject*",
            "s3:List*",
            on=[dags.bucket_arn, *objects(dags, "")],
            why="What AWS demands for MWAA, which looks at the bucket's settings, too: nothing but reading.",
        )

    def _allow_key(self, key: aws_kms.IKey) -> None:
        region = self._stack.region
        services = [f"{service}.{region}.amazonaws.com" for service in ("s3", "sns", "sqs")]
        self.allow(
            "UseKey",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            on=[key.key_arn],
            why="GenerateDataKey and its form without the plain text, as AWS demands for MWAA.",
            StringEquals={"kms:ViaService": services},
        )
