"""Stack: what answers. The functions that read and write, housekeeping, and the edge before them."""

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, Duration, Stack, aws_events, aws_events_targets
from constructs import Construct

from infra.archives import Archives
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.custom_domain import CustomDomain
from infra.constructs.firewall import Firewall
from infra.constructs.python_function import PythonFunction
from infra.constructs.rest_api import RestApi
from infra.data import DataStack
from infra.network import NetworkStack

if TYPE_CHECKING:
    from infra.monitoring import MonitoringStack

PUSHGATEWAY_PORT = 9091


class ApiStack(Stack):
    """Functions over Postgres, and the REST API that leads to them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        archives: Archives,
        network: NetworkStack,
        data: DataStack,
        monitoring: "MonitoringStack | None",
    ) -> None:
        super().__init__(scope, construct_id, description="Shop recommender: the API and its functions")
        self._config, self._archives, self._network = config, archives, network
        # The schema that the functions are made for is there before they are.
        self.add_stack_dependency(data)
        self.read = self._api_function(
            "Read",
            serves="read",
            description="Answers with recommendations",
            timeout=Duration.seconds(10),
            reserved_concurrency=config.read_concurrency,
        )
        self.write = self._api_function(
            "Write",
            serves="write",
            description="Takes events, items and what operators do",
            timeout=Duration.seconds(15),
            reserved_concurrency=config.write_concurrency,
        )
        self.housekeeping = self._make_housekeeping()
        data.database.let_in(self.read, user="api_read")
        data.database.let_in(self.write, user="api_write")
        data.database.let_in(self.housekeeping, user="housekeeping")
        if monitoring is not None:
            for function in (self.read, self.write, self.housekeeping):
                function.reach(
                    monitoring.pushgateway.security_group, monitoring.pushgateway.port, "pushgateway"
                )
                function.set(PUSHGATEWAY_URL=monitoring.pushgateway.url)
        self.edge = RestApi(
            self,
            "Edge",
            config=config,
            read=self.read,
            write=self.write,
            authorizer=self._make_authorizer() if config.authorization == "jwt" else None,
        )
        self._protect()
        self._tell()

    def _api_function(
        self,
        construct_id: str,
        *,
        serves: str,
        description: str,
        timeout: Duration,
        reserved_concurrency: int | None,
    ) -> PythonFunction:
        function = PythonFunction(
            self,
            construct_id,
            config=self._config,
            archives=self._archives,
            code="recommendations_api",
            name=f"api-{serves}",
            description=description,
            timeout=timeout,
            memory_mb=self._config.function_memory_mb,
            reserved_concurrency=reserved_concurrency,
            snap_start=self._config.snap_start,
            vpc=self._network.vpc,
            subnets=self._network.subnets,
            environment={"SERVES": serves, "AUTHORIZATION": self._config.authorization},
        )
        if self._config.cors_origins:
            function.set(CORS_ORIGINS=",".join(self._config.cors_origins))
        return function

    def _make_housekeeping(self) -> PythonFunction:
        function = PythonFunction(
            self,
            "Housekeeping",
            config=self._config,
            archives=self._archives,
            code="housekeeping",
            name="housekeeping",
            description="Makes partitions, renews keys, deletes stale metrics, tells ages",
            timeout=Duration.minutes(1),
            # Where functions can reserve at all; two at once would do no harm, only the same again.
            reserved_concurrency=1 if self._config.read_concurrency else None,
            vpc=self._network.vpc,
            subnets=self._network.subnets,
        )
        rule = aws_events.Rule(
            self,
            "HousekeepingSchedule",
            description="Every five minutes",
            schedule=aws_events.Schedule.rate(Duration.minutes(5)),
            # What failed is told by its alarm, and done by the next run.
            targets=[aws_events_targets.LambdaFunction(function.alias, retry_attempts=0)],
        )
        acknowledge(
            rule, {"Serverless-EventBusDLQ": "The next event, five minutes later, asks for the same."}
        )
        return function

    def _make_authorizer(self) -> PythonFunction:
        config = self._config
        environment = {
            "JWT_ISSUER": config.jwt_issuer,
            "JWT_AUDIENCE": ",".join(config.jwt_audience),
            "JWT_CLIENT_IDS": ",".join(config.jwt_client_ids),
            "JWT_SCOPE_PREFIX": config.jwt_scope_prefix,
        }
        # Outside the VPC: it has to reach the issuer, and nothing else.
        return PythonFunction(
            self,
            "Authorizer",
            config=config,
            archives=self._archives,
            code="jwt_authorizer",
            name="jwt-authorizer",
            description="Reads the tokens of the shop's issuer",
            timeout=Duration.seconds(10),
            memory_mb=512,
            environment={name: value for name, value in environment.items() if value},
        )

    def _protect(self) -> None:
        stage = self.edge.api.deployment_stage
        if self._config.waf:
            Firewall(self, "Firewall", config=self._config, stage_arn=stage.stage_arn)
        else:
            acknowledge(stage, {"AwsSolutions-APIG3": "The setting `waf` is off, of which prod warns."})
        if self._config.domain_name:
            CustomDomain(self, "Domain", config=self._config, api=self.edge.api)

    def _tell(self) -> None:
        url = f"https://{self._config.domain_name}" if self._config.domain_name else self.edge.url
        CfnOutput(self, "ApiUrl", value=url, description="Where the API answers: API=… in docs/api.md")
        if self._config.authorization == "api_key":
            key = self.edge.make_key()
            CfnOutput(
                self,
                "ApiKeyId",
                value=key.key_id,
                description="aws apigateway get-api-key --include-value --api-key …",
            )
