"""A server on Fargate: one task, found by its name in the VPC."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, aws_ec2, aws_ecs, aws_iam, aws_kms
from constructs import Construct

from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.built_image import BuiltImage
from infra.constructs.log_group import LogGroup

_LONGEST_STOP = Duration.seconds(120)
_LONGEST_START = Duration.seconds(300)


class FargateServer(Construct):
    """One task on arm64 in a private subnet; who may reach it has to be let in at `security_group`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        cluster: aws_ecs.ICluster,
        subnets: aws_ec2.SubnetSelection,
        name: str,
        description: str,
        port: int,
        path: str = "",
        url: str | None = None,
        image: BuiltImage | str,
        command: Sequence[str] | None = None,
        prepare: Sequence[str] | None = None,
        health_check: Sequence[str],
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, aws_ecs.Secret] | None = None,
        key: aws_kms.IKey | None = None,
        scratch: Sequence[str] = (),
        alone: bool = False,
        load_balanced: bool = False,
        cpu: int = 256,
        memory_mb: int = 512,
    ) -> None:
        """`name` is its host below the deployment's namespace, `path` what its URL ends with.

        `url` is another place where machines find it. `secrets` are under `key`. `prepare` has to end well
        before the server starts. Nothing but the folders in `scratch` can be written to, and they are lost
        with the task. Where it is `alone`, an update stops the old task before it starts the new one.
        """
        super().__init__(scope, construct_id)
        self.port = port
        self.url = url or f"http://{name}.{config.namespace}:{port}{path}"
        """For machines in the VPC."""
        self.security_group = aws_ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=cluster.vpc,
            allow_all_outbound=False,
            description=f"{config.prefix}-{name}: {description}",
        )
        self.security_group.add_egress_rule(aws_ec2.Peer.any_ipv4(), aws_ec2.Port.tcp(443), "AWS, its image")
        self.task = self._make_task(cpu, memory_mb)
        self.role = self.task.task_role
        """What the server may do; its image and its secrets are fetched by another one."""
        self._logs = LogGroup(self, "Logs", config=config, name=f"/ecs/{config.prefix}/{name}")
        common: dict[str, Any] = {
            "image": _container_image(image),
            "environment": dict(environment or {}),
            "secrets": dict(secrets or {}),
            "logs": self._logs,
            "scratch": scratch,
        }
        self.container = self._add_container(
            name,
            **common,
            command=list(command) if command else None,
            port_mappings=[aws_ecs.PortMapping(container_port=port)],
            stop_timeout=_LONGEST_STOP,
            health_check=_health_check(health_check),
        )
        if prepare:
            self.container.add_container_dependencies(
                aws_ecs.ContainerDependency(
                    container=self._add_container(
                        "prepare", **common, command=list(prepare), essential=False
                    ),
                    condition=aws_ecs.ContainerDependencyCondition.SUCCESS,
                )
            )
        if key is not None:
            self._let_decrypt_secrets(key)
        self.service = aws_ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=self.task,
            desired_count=1,
            min_healthy_percent=0 if alone else 100,
            max_healthy_percent=100 if alone else 200,
            circuit_breaker=aws_ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            health_check_grace_period=_LONGEST_START if load_balanced else None,
            platform_version=aws_ecs.FargatePlatformVersion.VERSION1_4,
            assign_public_ip=False,
            vpc_subnets=subnets,
            security_groups=[self.security_group],
            cloud_map_options=aws_ecs.CloudMapOptions(name=name, dns_ttl=Duration.seconds(10)),
            propagate_tags=aws_ecs.PropagatedTagSource.SERVICE,
        )
        self._explain()

    def reach(self, peer: aws_ec2.IConnectable, port: int, what: str) -> None:
        """Open the way from here to a port of something in the VPC, at both ends."""
        self.security_group.connections.allow_to(peer, aws_ec2.Port.tcp(port), what)

    def run_beside(
        self,
        name: str,
        *,
        image: str,
        port: int,
        entry_point: Sequence[str],
        command: Sequence[str],
        environment: Mapping[str, str],
        scratch: Sequence[str],
        health_check: Sequence[str],
    ) -> None:
        """Run another server in the same task; they reach each other at 127.0.0.1.

        Where it ends it starts anew, and the first one goes on.
        """
        self._add_container(
            name,
            image=_container_image(image),
            essential=False,
            enable_restart_policy=True,
            entry_point=list(entry_point),
            command=list(command),
            environment=dict(environment),
            logs=self._logs,
            scratch=scratch,
            port_mappings=[aws_ecs.PortMapping(container_port=port)],
            health_check=_health_check(health_check),
        )

    def mount(self, name: str, path: str, files: aws_ecs.EfsVolumeConfiguration) -> None:
        """Have a folder that outlives the task."""
        self.task.add_volume(name=name, efs_volume_configuration=files)
        self.container.add_mount_points(
            aws_ecs.MountPoint(container_path=path, source_volume=name, read_only=False)
        )

    def _let_decrypt_secrets(self, key: aws_kms.IKey) -> None:
        # The CDK leaves this to the key's policy, and where that is another stack's it leaves it out:
        # https://github.com/aws/aws-cdk/issues/10160
        self.task.add_to_execution_role_policy(
            aws_iam.PolicyStatement(
                actions=["kms:Decrypt"],
                resources=[key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{Aws.REGION}.amazonaws.com"}},
            )
        )

    def _make_task(self, cpu: int, memory_mb: int) -> aws_ecs.FargateTaskDefinition:
        return aws_ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=cpu,
            memory_limit_mib=memory_mb,
            runtime_platform=aws_ecs.RuntimePlatform(
                cpu_architecture=aws_ecs.CpuArchitecture.ARM64,
                operating_system_family=aws_ecs.OperatingSystemFamily.LINUX,
            ),
        )

    def _add_container(
        self, name: str, *, logs: LogGroup, scratch: Sequence[str], **settings: Any
    ) -> aws_ecs.ContainerDefinition:
        powerless = aws_ecs.LinuxParameters(self, f"{name}Linux", init_process_enabled=True)
        powerless.drop_capabilities(aws_ecs.Capability.ALL)
        container = self.task.add_container(
            name,
            container_name=name,
            logging=aws_ecs.LogDrivers.aws_logs(stream_prefix=name, log_group=logs),
            readonly_root_filesystem=True,
            linux_parameters=powerless,
            **settings,
        )
        for folder in scratch:
            volume = f"{name}{folder.replace('/', '-')}"
            self.task.add_volume(name=volume)
            container.add_mount_points(
                aws_ecs.MountPoint(container_path=folder, source_volume=volume, read_only=False)
            )
        return container

    def _explain(self) -> None:
        acknowledge(
            self.task,
            {
                "AwsSolutions-ECS2": "What stands in plain text are names and switches; passwords come out of"
                " Secrets Manager."
            },
        )
        acknowledge(
            self.task.obtain_execution_role(),
            {"AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken knows no resource."},
        )


def _container_image(image: BuiltImage | str) -> aws_ecs.ContainerImage:
    return aws_ecs.ContainerImage.from_registry(image) if isinstance(image, str) else image.container_image


def _health_check(command: Sequence[str]) -> aws_ecs.HealthCheck:
    return aws_ecs.HealthCheck(
        # By no shell: not every image has one.
        command=["CMD", *command],
        interval=Duration.seconds(30),
        timeout=Duration.seconds(10),
        retries=3,
        start_period=_LONGEST_START,
    )
