"""Airflow, in Amazon MWAA."""

from typing import Any, Final

from aws_cdk import Aws, aws_ec2, aws_iam, aws_kms, aws_mwaa, aws_s3
from constructs import Construct

from infra.config import Config
from infra.constructs.airflow_role import AirflowRole
from infra.constructs.dag_files import FOLDER, DagFiles
from infra.constructs.log_group import LogGroup

LOGS: Final = {
    "DAGProcessing": "WARNING",
    "Scheduler": "WARNING",
    "Task": "INFO",
    "WebServer": "WARNING",
    "Worker": "WARNING",
}
"""Log groups and how much goes there; what fails to be installed is an error of all but `Task`."""

OPTIONS: Final = {
    # A DAG runs by its schedule as soon as it is deployed; without a schedule it waits to be asked.
    "core.dags_are_paused_at_creation": "False",
    # To import the SageMaker operator takes five seconds of a processor, of which the smallest class has less
    # than one: every half a minute, as is the default, it would do nothing else.
    "core.dagbag_import_timeout": "120",
    "dag_processor.dag_file_processor_timeout": "180",
    "dag_processor.min_file_process_interval": "300",
    "usage_data_collection.enabled": "False",
}
"""No region among them: MWAA sets it for connections and their triggers by itself."""


class Airflow(Construct):
    """An environment that nothing reaches from outside the VPC, and the way from it to others."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        vpc: aws_ec2.IVpc,
        subnets: aws_ec2.SubnetSelection,
        key: aws_kms.IKey,
        dags: aws_s3.IBucket,
        files: DagFiles,
        role: AirflowRole,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name: Final = config.prefix
        self.security_group = self._make_security_group(config, vpc)
        self._let_logs_use(key)
        self.environment = aws_mwaa.CfnEnvironment(
            self,
            "Environment",
            # Log groups and permissions have it in their names.
            name=self.name,
            airflow_version=config.mwaa_version,
            airflow_configuration_options=OPTIONS,
            source_bucket_arn=dags.bucket_arn,
            dag_s3_path=FOLDER,
            requirements_s3_path=files.requirements_key,
            requirements_s3_object_version=files.requirements_version,
            execution_role_arn=role.role_arn,
            kms_key=key.key_arn,
            webserver_access_mode=f"{config.mwaa_web_server.upper()}_ONLY",
            network_configuration=aws_mwaa.CfnEnvironment.NetworkConfigurationProperty(
                security_group_ids=[self.security_group.security_group_id],
                subnet_ids=vpc.select_subnets(subnet_type=subnets.subnet_type, one_per_az=True).subnet_ids[
                    :2
                ],
            ),
            logging_configuration=self._logging(),
            environment_class=config.mwaa_class,
            **sizes(config),
            # Tasks that run when the environment is updated end by themselves.
            worker_replacement_strategy="GRACEFUL",
            # In the day, and when the night's retrain is long over.
            weekly_maintenance_window_start="TUE:10:00",
        )
        groups = [LogGroup(self, f"{name}Logs", config=config, name=self._log_group(name)) for name in LOGS]
        # MWAA reads the bucket, takes the role and tries the network while it makes the environment.
        self.environment.node.add_dependency(files, role, self.security_group, key, *groups)

    def reach(self, peer: aws_ec2.IConnectable, port: int, what: str) -> None:
        """Open the way from here to a port of something in the VPC, at both ends."""
        self.security_group.connections.allow_to(peer, aws_ec2.Port.tcp(port), what)

    def _make_security_group(self, config: Config, vpc: aws_ec2.IVpc) -> aws_ec2.SecurityGroup:
        group = aws_ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            allow_all_outbound=False,
            description=f"{config.prefix}: Airflow",
        )
        # Its parts, and the endpoints of its database and web server, are all in this group.
        group.connections.allow_internally(aws_ec2.Port.all_traffic(), "Airflow itself")
        group.add_egress_rule(aws_ec2.Peer.any_ipv4(), aws_ec2.Port.tcp(443), "AWS, and packages")
        return group

    def _let_logs_use(self, key: aws_kms.IKey) -> None:
        # https://docs.aws.amazon.com/mwaa/latest/userguide/custom-keys-certs.html
        group = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:{self._log_group('*')}"
        key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                sid="AirflowLogs",
                principals=[aws_iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
                actions=[
                    "kms:Decrypt*",
                    "kms:Describe*",
                    "kms:Encrypt*",
                    "kms:GenerateDataKey*",
                    "kms:ReEncrypt*",
                ],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}},
            )
        )

    def _logging(self) -> aws_mwaa.CfnEnvironment.LoggingConfigurationProperty:
        def module(name: str) -> aws_mwaa.CfnEnvironment.ModuleLoggingConfigurationProperty:
            return aws_mwaa.CfnEnvironment.ModuleLoggingConfigurationProperty(
                enabled=True, log_level=LOGS[name]
            )

        return aws_mwaa.CfnEnvironment.LoggingConfigurationProperty(
            dag_processing_logs=module("DAGProcessing"),
            scheduler_logs=module("Scheduler"),
            task_logs=module("Task"),
            webserver_logs=module("WebServer"),
            worker_logs=module("Worker"),
        )

    def _log_group(self, name: str) -> str:
        return f"airflow-{self.name}-{name}"


def sizes(config: Config) -> dict[str, Any]:
    """How many there are of each part; the smallest class has one of each, whatever is asked for."""
    if config.mwaa_class == "mw1.micro":
        return dict.fromkeys(
            ("min_workers", "max_workers", "schedulers", "min_webservers", "max_webservers"), 1
        )
    return {"min_workers": 1, "max_workers": config.mwaa_max_workers}
