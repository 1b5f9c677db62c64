"""The way by which people reach servers: one load balancer, closed unless the settings open it."""

from aws_cdk import Duration, SecretValue, aws_ec2, aws_iam, aws_s3
from aws_cdk import aws_elasticloadbalancingv2 as aws_elb
from constructs import Construct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.fargate_server import FargateServer

_LOGS_PREFIX = "load-balancer"


class LoadBalancer(Construct):
    """With a certificate it faces the internet: HTTPS, for who is logged in, or for given networks.

    Without one it is internal, and its security group admits nobody.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        vpc: aws_ec2.IVpc,
        subnets: aws_ec2.SubnetSelection,
        access_logs: aws_s3.IBucket,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config, self._vpc = config, vpc
        public = config.monitoring_certificate is not None
        self.security_group = aws_ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            allow_all_outbound=False,
            description=f"{config.prefix}: people on their way to Grafana and MLflow",
        )
        self.load_balancer = aws_elb.ApplicationLoadBalancer(
            self,
            "LoadBalancer",
            vpc=vpc,
            vpc_subnets=aws_ec2.SubnetSelection(subnet_type=aws_ec2.SubnetType.PUBLIC) if public else subnets,
            internet_facing=public,
            security_group=self.security_group,
            drop_invalid_header_fields=True,
            deletion_protection=config.protected,
        )
        self.url = (
            f"https://{config.monitoring_domain}"
            if public
            else f"http://{self.load_balancer.load_balancer_dns_name}"
        )
        self._log_access(access_logs)
        self._listener = self._listen()
        self._let_in()

    def send(
        self,
        server: FargateServer,
        *,
        health_path: str,
        paths: tuple[str, ...] = (),
        priority: int | None = None,
    ) -> None:
        """Lead requests below `paths` to a server; without paths and priority, all that others don't get."""
        target_group = aws_elb.ApplicationTargetGroup(
            self,
            f"{server.node.id}Targets",
            vpc=self._vpc,
            port=server.port,
            protocol=aws_elb.ApplicationProtocol.HTTP,
            target_type=aws_elb.TargetType.IP,
            targets=[
                server.service.load_balancer_target(
                    container_name=server.container.container_name, container_port=server.port
                )
            ],
            deregistration_delay=Duration.seconds(30),
            health_check=aws_elb.HealthCheck(path=health_path, healthy_http_codes="200"),
        )
        self._listener.add_action(
            server.node.id,
            priority=priority,
            conditions=[aws_elb.ListenerCondition.path_patterns(list(paths))] if paths else None,
            action=self._logged_in(aws_elb.ListenerAction.forward([target_group])),
        )

    def _listen(self) -> aws_elb.ApplicationListener:
        if self._config.monitoring_certificate is None:
            return self.load_balancer.add_listener(
                "Http", port=80, protocol=aws_elb.ApplicationProtocol.HTTP, open=False
            )
        return self.load_balancer.add_listener(
            "Https",
            port=443,
            protocol=aws_elb.ApplicationProtocol.HTTPS,
            certificates=[aws_elb.ListenerCertificate.from_arn(self._config.monitoring_certificate)],
            ssl_policy=aws_elb.SslPolicy.TLS13_12_RES_PQ,
            open=False,
        )

    def _let_in(self) -> None:
        if self._config.oidc_issuer is not None:
            self.security_group.add_ingress_rule(
                aws_ec2.Peer.any_ipv4(), aws_ec2.Port.tcp(443), "people, who have to log in"
            )
            acknowledge(
                self.security_group,
                {"AwsSolutions-EC23": "Every rule of the listener asks for a login by OIDC first."},
            )
        else:
            for cidr in self._config.monitoring_cidrs:
                self.security_group.add_ingress_rule(aws_ec2.Peer.ipv4(cidr), aws_ec2.Port.tcp(443), "people")

    def _logged_in(self, then: aws_elb.ListenerAction) -> aws_elb.ListenerAction:
        config = self._config
        if config.oidc_issuer is None:
            return then
        asked = (
            config.oidc_authorization_endpoint,
            config.oidc_token_endpoint,
            config.oidc_user_info_endpoint,
            config.oidc_client_id,
            config.oidc_client_secret,
        )
        authorization_endpoint, token_endpoint, user_info_endpoint, client_id, client_secret = asked
        assert authorization_endpoint and token_endpoint and user_info_endpoint  # noqa: PT018, S101
        assert client_id and client_secret  # noqa: PT018, S101 - infra.impossible: all or none
        return aws_elb.ListenerAction.authenticate_oidc(
            issuer=config.oidc_issuer,
            authorization_endpoint=authorization_endpoint,
            token_endpoint=token_endpoint,
            user_info_endpoint=user_info_endpoint,
            client_id=client_id,
            client_secret=SecretValue.secrets_manager(client_secret),
            next=then,
        )

    def _log_access(self, bucket: aws_s3.IBucket) -> None:
        # CDK's own log_access_logs() asks for the account that does this in the region, which isn't known
        # here; the service is the same in each:
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
        account = self.load_balancer.stack.account
        bucket.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects(f"{_LOGS_PREFIX}/AWSLogs/{account}/*")],
            )
        )
        self.load_balancer.set_attribute("access_logs.s3.enabled", "true")
        self.load_balancer.set_attribute("access_logs.s3.bucket", bucket.bucket_name)
        self.load_balancer.set_attribute("access_logs.s3.prefix", _LOGS_PREFIX)
