"""Kinds of resources that cost nothing by themselves, and why."""

from collections.abc import Mapping
from typing import Final

_BY_REASON: Final[Mapping[str, tuple[str, ...]]] = {
    "roles and permissions": (
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::Permission",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::TopicPolicy",
        "AWS::SecretsManager::ResourcePolicy",
    ),
    "networks: gateways and addresses in them are priced": (
        "AWS::EC2::FlowLog",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::EFS::AccessPoint",
        "AWS::EFS::MountTarget",
        "AWS::RDS::DBSubnetGroup",
        "AWS::Route53::RecordSet",
    ),
    "parts of an API: its requests are priced at its stage": (
        "AWS::ApiGateway::Account",
        "AWS::ApiGateway::ApiKey",
        "AWS::ApiGateway::Authorizer",
        "AWS::ApiGateway::BasePathMapping",
        "AWS::ApiGateway::Deployment",
        "AWS::ApiGateway::DomainName",
        "AWS::ApiGateway::GatewayResponse",
        "AWS::ApiGateway::Method",
        "AWS::ApiGateway::Model",
        "AWS::ApiGateway::RequestValidator",
        "AWS::ApiGateway::Resource",
        "AWS::ApiGateway::RestApi",
        "AWS::ApiGateway::UsagePlan",
        "AWS::ApiGateway::UsagePlanKey",
        "AWS::WAFv2::LoggingConfiguration",
        "AWS::WAFv2::WebACLAssociation",
    ),
    "names and settings of what is priced": (
        "AWS::ECS::TaskDefinition",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::KMS::Alias",
        "AWS::Lambda::Alias",
        "AWS::Lambda::Version",
        "AWS::RDS::DBParameterGroup",
        "AWS::SSM::Parameter",
        "AWS::SecretsManager::SecretTargetAttachment",
        "AWS::ServiceDiscovery::Service",
    ),
    "events of AWS and schedules: functions are priced by how often they run": ("AWS::Events::Rule",),
    "messages and budgets: below a cent, as long as alarms are rare": (
        "AWS::Budgets::Budget",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
    ),
    "steps of a deployment": (
        "AWS::Lambda::LayerVersion",
        "Custom::AWS",
        "Custom::CDKBucketDeployment",
        "Custom::CDKContainerImageBuild",
        "Custom::S3AutoDeleteObjects",
        "Custom::Trigger",
        "Custom::VpcRestrictDefaultSG",
    ),
}

FREE: Final[Mapping[str, str]] = {kind: reason for reason, kinds in _BY_REASON.items() for kind in kinds}
"""Reason by kind. What is neither here nor in RULES has no price, and the report names it."""
