"""What stands before the API: AWS's common rules, and a limit for each address."""

from typing import Any, Final

from aws_cdk import ArnFormat, aws_logs, aws_wafv2
from constructs import Construct

from infra.config import Config
from infra.constructs.log_group import LogGroup

MANAGED: Final = (
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
)

_MAY_BE_LARGE: Final = "SizeRestrictions_BODY"
"""Of the common rules: it blocks bodies above 8 KiB, and a batch of events has up to 1,000 of them."""


class Firewall(Construct):
    """A web ACL for a stage of a REST API; what it blocked is logged, without paths, which hold ids."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, stage_arn: str) -> None:
        super().__init__(scope, construct_id)
        acl = aws_wafv2.CfnWebACL(
            self,
            "Acl",
            name=config.prefix,
            scope="REGIONAL",
            default_action={"allow": {}},
            visibility_config=_visible(config.prefix),
            rules=[
                _rate_limit(config.requests_of_an_address),
                *(_managed(name, priority) for priority, name in enumerate(MANAGED, start=1)),
            ],
        )
        aws_wafv2.CfnWebACLAssociation(self, "Association", resource_arn=stage_arn, web_acl_arn=acl.attr_arn)
        logs = LogGroup(self, "Logs", config=config, name=f"aws-waf-logs-{config.prefix}")
        logging = aws_wafv2.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=acl.attr_arn,
            log_destination_configs=[_without_star(logs)],
            redacted_fields=[{"uriPath": {}}, {"queryString": {}}],
            logging_filter={
                "DefaultBehavior": "DROP",
                "Filters": [
                    {
                        "Behavior": "KEEP",
                        "Requirement": "MEETS_ANY",
                        "Conditions": [{"ActionCondition": {"Action": "BLOCK"}}],
                    }
                ],
            },
        )
        logging.node.add_dependency(logs)


def _rate_limit(limit: int) -> dict[str, Any]:
    return {
        "name": "rate",
        "priority": 0,
        "action": {"block": {"customResponse": {"responseCode": 429}}},
        "statement": {
            "rateBasedStatement": {"limit": limit, "aggregateKeyType": "IP", "evaluationWindowSec": 300}
        },
        "visibilityConfig": _visible("rate"),
    }


def _managed(name: str, priority: int) -> dict[str, Any]:
    statement: dict[str, Any] = {"vendorName": "AWS", "name": name}
    if name == "AWSManagedRulesCommonRuleSet":
        statement["ruleActionOverrides"] = [{"name": _MAY_BE_LARGE, "actionToUse": {"count": {}}}]
    return {
        "name": name,
        "priority": priority,
        "overrideAction": {"none": {}},
        "statement": {"managedRuleGroupStatement": statement},
        "visibilityConfig": _visible(name),
    }


def _visible(name: str) -> dict[str, Any]:
    # Samples would hold paths, and with them ids.
    return {"cloudWatchMetricsEnabled": True, "metricName": name, "sampledRequestsEnabled": False}


def _without_star(logs: aws_logs.ILogGroup) -> str:
    """The ARN as WAF wants it, without the `:*` that CloudFormation ends it with."""
    return logs.stack.format_arn(
        service="logs",
        resource="log-group",
        resource_name=logs.log_group_name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
