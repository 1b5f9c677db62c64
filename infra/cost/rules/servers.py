"""What runs on Fargate, its disks, and the load balancer before it."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.cost.assumptions import Assumptions
from infra.cost.deployment import Deployment, Resource
from infra.cost.usage import HOURS, Rule, Usage

MONITORING: Final = "Monitoring and MLflow"
_SERVICE: Final = "AWS::ECS::Service"
_FREE_DISK_GB: Final = 20
_METRICS_OF_A_CLUSTER: Final = 3


def service(service: Resource, deployment: Deployment, _: Assumptions) -> Iterator[Usage]:
    """Processors, memory and a large disk of its tasks, each as many as are wanted."""
    tasks = service.number("DesiredCount", 1)
    for task in deployment.referred_to_by(service, "AWS::ECS::TaskDefinition"):
        platform = task.properties.get("RuntimePlatform", {}).get("CpuArchitecture", "X86_64").lower()
        cores = task.number("Cpu") / 1024 * tasks * HOURS
        memory_gb = task.number("Memory") / 1024 * tasks * HOURS
        yield Usage(MONITORING, f"Fargate, {platform} cores", f"fargate.{platform}_core_hour", cores)
        yield Usage(MONITORING, f"Fargate, {platform} memory", f"fargate.{platform}_gb_hour", memory_gb)
        disk_gb = task.properties.get("EphemeralStorage", {}).get("SizeInGiB", _FREE_DISK_GB)
        if disk_gb > _FREE_DISK_GB:
            beyond = (disk_gb - _FREE_DISK_GB) * tasks * HOURS
            yield Usage(MONITORING, "Fargate, disk", "fargate.disk_gb_hour", beyond)


def cluster(cluster: Resource, deployment: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """Itself nothing; Container Insights by the metric."""
    settings = cluster.properties.get("ClusterSettings", [])
    if any(each["Name"] == "containerInsights" and each["Value"] != "disabled" for each in settings):
        servers = deployment.referring_to(cluster, _SERVICE)
        count = _METRICS_OF_A_CLUSTER + len(servers) * assumptions.insights_metrics
        yield Usage(MONITORING, "Container Insights, metrics", "cloudwatch.metric", count)


def load_balancer(balancer: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """By the hour and by capacity; an address in each zone where it faces the internet."""
    yield Usage(MONITORING, "load balancer", "elb.application_hour", HOURS)
    units = HOURS * assumptions.load_balancer_units
    yield Usage(MONITORING, "load balancer, capacity", "elb.application_unit_hour", units)
    if balancer.properties.get("Scheme") == "internet-facing":
        zones = len(balancer.properties.get("Subnets", []))
        yield Usage(MONITORING, "load balancer, public IPv4", "vpc.public_ipv4_hour", HOURS * zones)


def file_system(system: Resource, _: Deployment, assumptions: Assumptions) -> Iterator[Usage]:
    """What is stored, what is written, and its backup."""
    yield Usage(MONITORING, "EFS, storage", "efs.gb", assumptions.disk_gb)
    if system.properties.get("ThroughputMode") == "elastic":
        yield Usage(MONITORING, "EFS, written", "efs.written_gb", assumptions.disk_gb)
    if system.properties.get("BackupPolicy", {}).get("Status") == "ENABLED":
        yield Usage(MONITORING, "EFS, backups", "backup.efs_gb", assumptions.disk_gb)


RULES: Final[Mapping[str, Rule]] = {
    _SERVICE: service,
    "AWS::ECS::Cluster": cluster,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": load_balancer,
    "AWS::EFS::FileSystem": file_system,
}
