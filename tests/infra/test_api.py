"""The edge and its functions: each route, who may call it, and what refusals say."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from contract.routes import SCOPES
from infra.config import STAGES
from infra.constructs.rest_api import BODIES
from tests.infra.conftest import Template, Templates, resources


def routes(template: Template) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Each method's properties, by method and path."""
    parts = resources(template, "AWS::ApiGateway::Resource")

    def path_of(reference: Mapping[str, Any]) -> str:
        if "Ref" not in reference:
            return ""
        properties = parts[reference["Ref"]]["Properties"]
        return f"{path_of(properties['ParentId'])}/{properties['PathPart']}"

    return {
        (method["Properties"]["HttpMethod"], path_of(method["Properties"]["ResourceId"])): method[
            "Properties"
        ]
        for method in resources(template, "AWS::ApiGateway::Method").values()
    }


def function_behind(template: Template, method: Mapping[str, Any]) -> str:
    aliases = resources(template, "AWS::Lambda::Alias")
    uri = json.dumps(method["Integration"]["Uri"])
    (alias,) = [name for name in aliases if name in uri]
    reference = aliases[alias]["Properties"]["FunctionName"]["Ref"]
    variables = template["Resources"][reference]["Properties"]["Environment"]["Variables"]
    return str(variables["SERVES"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_edge_has_the_routes_of_the_contract_and_no_other(templates: Templates, stage: str) -> None:
    assert set(routes(templates[stage]["api"])) == set(SCOPES)


@pytest.mark.parametrize("stage", STAGES)
def test_each_route_leads_to_the_function_that_serves_its_scope(templates: Templates, stage: str) -> None:
    template = templates[stage]["api"]
    for route, method in routes(template).items():
        expected = "write" if SCOPES[route] in {"write", "operator"} else "read"
        assert function_behind(template, method) == expected, route


def test_iam_is_asked_of_every_route_but_health(templates: Templates) -> None:
    for stage in ("dev", "prod"):
        kinds = {
            route: method["AuthorizationType"] for route, method in routes(templates[stage]["api"]).items()
        }
        assert {route for route, kind in kinds.items() if kind != "AWS_IAM"} == {("GET", "/health")}


def test_a_key_opens_no_route_of_operators(templates: Templates) -> None:
    for route, method in routes(templates["local"]["api"]).items():
        if SCOPES[route] == "operator":
            assert (method["AuthorizationType"], method.get("ApiKeyRequired", False)) == ("AWS_IAM", False)
        else:
            assert method.get("ApiKeyRequired", False) == (SCOPES[route] is not None)


def test_there_is_a_key_where_keys_count_and_nowhere_else(templates: Templates) -> None:
    keys = {stage: len(resources(templates[stage]["api"], "AWS::ApiGateway::ApiKey")) for stage in STAGES}
    assert keys == {"dev": 0, "prod": 0, "local": 1}


@pytest.mark.parametrize("stage", STAGES)
def test_bodies_are_looked_at_as_far_as_the_edge_can_judge_them(templates: Templates, stage: str) -> None:
    template = templates[stage]["api"]
    models = resources(template, "AWS::ApiGateway::Model")
    for route, required in BODIES.items():
        method = routes(template)[route]
        schema = models[method["RequestModels"]["application/json"]["Ref"]]["Properties"]["Schema"]
        assert schema["type"] == "object"
        assert tuple(schema.get("required", ())) == required
    (validator,) = resources(template, "AWS::ApiGateway::RequestValidator").values()
    assert validator["Properties"]["ValidateRequestBody"] is True
    assert validator["Properties"]["ValidateRequestParameters"] is True


@pytest.mark.parametrize("stage", STAGES)
def test_logs_of_the_edge_hold_no_path_and_no_address(templates: Templates, stage: str) -> None:
    (deployed,) = resources(templates[stage]["api"], "AWS::ApiGateway::Stage").values()
    logged = json.loads(deployed["Properties"]["AccessLogSetting"]["Format"])
    assert logged["route"] == "$context.resourcePath"
    assert not {"$context.path", "$context.identity.sourceIp"} & set(logged.values())
    settings = deployed["Properties"]["MethodSettings"]
    assert [setting["DataTraceEnabled"] for setting in settings] == [False]


@pytest.mark.parametrize("stage", STAGES)
def test_the_edge_lets_through_no_more_than_the_settings_say(templates: Templates, stage: str) -> None:
    (deployed,) = resources(templates[stage]["api"], "AWS::ApiGateway::Stage").values()
    (setting,) = deployed["Properties"]["MethodSettings"]
    assert setting["ThrottlingRateLimit"] == {"dev": 100, "prod": 1000, "local": 100}[stage]
    (plan,) = resources(templates[stage]["api"], "AWS::ApiGateway::UsagePlan").values()
    assert plan["Properties"]["Throttle"]["RateLimit"] == setting["ThrottlingRateLimit"]


def test_refusals_of_the_edge_are_problem_documents(templates: Templates) -> None:
    responses = resources(templates["dev"]["api"], "AWS::ApiGateway::GatewayResponse").values()
    kinds = {response["Properties"]["ResponseType"] for response in responses}
    assert {"ACCESS_DENIED", "THROTTLED", "UNAUTHORIZED", "BAD_REQUEST_BODY", "INTEGRATION_TIMEOUT"} <= kinds
    for response in responses:
        properties = response["Properties"]
        # What API Gateway puts in is a JSON string with its quotes, and an id without.
        filled = (
            properties["ResponseTemplates"]["application/json"]
            .replace("$context.error.messageString", '"Forbidden"')
            .replace("$context.requestId", "1-2-3")
        )
        document = json.loads(filled)
        assert str(document["status"]) == properties["StatusCode"]
        assert re.fullmatch(r"urn:problem:[a-z-]+", document["type"])
        assert set(document) == {"type", "title", "status", "detail", "errors", "trace_id"}


@pytest.mark.parametrize("stage", STAGES)
def test_functions_are_small_arm64_and_of_a_python_that_archives_are_made_for(
    templates: Templates, stage: str
) -> None:
    ours = [
        function["Properties"]
        for noun in ("api", "data")
        for function in resources(templates[stage][noun], "AWS::Lambda::Function").values()
        if function["Properties"].get("Handler", "").startswith("lambdas.")
    ]
    assert len(ours) == 4
    for properties in ours:
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.12", ["arm64"])
        assert properties["VpcConfig"]["SecurityGroupIds"]


@pytest.mark.parametrize("stage", STAGES)
def test_functions_reach_nothing_but_what_they_are_told_to(templates: Templates, stage: str) -> None:
    template = templates[stage]["api"]
    for group in resources(template, "AWS::EC2::SecurityGroup").values():
        rules = group["Properties"].get("SecurityGroupEgress", [])
        # CDK's way to say nothing at all: an address that nobody has.
        assert [rule["CidrIp"] for rule in rules if "CidrIp" in rule] in ([], ["255.255.255.255/32"])
    ports = {
        rule["Properties"]["FromPort"]
        for rule in resources(template, "AWS::EC2::SecurityGroupEgress").values()
    }
    assert ports == ({9091} if stage == "local" else {5432, 9091})


def test_prod_starts_from_snapshots_and_reserves_for_reading_and_writing(templates: Templates) -> None:
    functions = {
        function["Properties"]["FunctionName"]: function["Properties"]
        for function in resources(templates["prod"]["api"], "AWS::Lambda::Function").values()
        if "FunctionName" in function["Properties"]
    }
    assert functions["shop-prod-api-read"]["ReservedConcurrentExecutions"] == 100
    assert functions["shop-prod-api-write"]["ReservedConcurrentExecutions"] == 40
    assert functions["shop-prod-api-read"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert "SnapStart" not in functions["shop-prod-housekeeping"]


def test_a_new_account_whose_quota_is_ten_can_deploy_dev(templates: Templates) -> None:
    reserved = [
        function["Properties"]
        for stack in templates["dev"].values()
        for function in resources(stack, "AWS::Lambda::Function").values()
        if "ReservedConcurrentExecutions" in function["Properties"]
    ]
    assert not reserved


def test_housekeeping_runs_every_five_minutes(templates: Templates) -> None:
    (rule,) = resources(templates["dev"]["api"], "AWS::Events::Rule").values()
    assert rule["Properties"]["ScheduleExpression"] == "rate(5 minutes)"


def test_the_firewall_logs_what_it_blocked_without_paths(templates: Templates) -> None:
    template = templates["prod"]["api"]
    (logging,) = resources(template, "AWS::WAFv2::LoggingConfiguration").values()
    assert logging["Properties"]["RedactedFields"] == [{"UriPath": {}}, {"QueryString": {}}]
    (acl,) = resources(template, "AWS::WAFv2::WebACL").values()
    first = acl["Properties"]["Rules"][0]
    assert first["Name"] == "rate"
    # A shop whose own servers call has few addresses: they may take all that the edge lets through.
    assert first["Statement"]["RateBasedStatement"]["Limit"] == 300 * 1000
    assert acl["Properties"]["VisibilityConfig"]["SampledRequestsEnabled"] is False
    assert resources(template, "AWS::WAFv2::WebACLAssociation")
    assert not resources(templates["dev"]["api"], "AWS::WAFv2::WebACL")
