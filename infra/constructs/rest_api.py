"""The edge: a REST API whose routes are those of the contract, each behind what its scope takes."""

import json
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Aws, Duration, aws_apigateway
from constructs import Construct

from contract.routes import SCOPES, Scope
from infra.config import Config
from infra.constructs.acknowledgement import acknowledge
from infra.constructs.log_group import LogGroup
from infra.constructs.python_function import PythonFunction

_JSON: Final = "application/json"

BODIES: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("POST", "/v1/recommendations"): (),
    ("POST", "/v1/recommendations/batch"): (),
    ("POST", "/v1/events"): ("events",),
    ("PUT", "/v1/items"): ("items",),
}
"""Lists that a body has to have. No more is asked here: the API itself takes the good entries of a list, and
says of each bad one what is wrong with it."""

PROBLEMS: Final[Mapping[str, tuple[int, str, str]]] = {
    "BAD_REQUEST_BODY": (400, "malformed-request", "The request cannot be read"),
    "BAD_REQUEST_PARAMETERS": (400, "malformed-request", "The request cannot be read"),
    "UNAUTHORIZED": (401, "unauthenticated", "Nobody is identified"),
    "MISSING_AUTHENTICATION_TOKEN": (
        403,
        "forbidden",
        "Nobody is identified, or there is nothing at this path",
    ),
    "INVALID_API_KEY": (403, "forbidden", "The caller may not do this"),
    "ACCESS_DENIED": (403, "forbidden", "The caller may not do this"),
    "EXPIRED_TOKEN": (403, "forbidden", "The caller may not do this"),
    "INVALID_SIGNATURE": (403, "forbidden", "The caller may not do this"),
    "WAF_FILTERED": (403, "forbidden", "The caller may not do this"),
    "REQUEST_TOO_LARGE": (413, "request-too-large", "The request is too large"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "unsupported-media-type", "The request is of another kind than JSON"),
    "THROTTLED": (429, "too-many-requests", "Too many requests at once"),
    "QUOTA_EXCEEDED": (429, "too-many-requests", "Too many requests"),
    "AUTHORIZER_FAILURE": (500, "internal-error", "Something went wrong here"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, "internal-error", "Something went wrong here"),
    "API_CONFIGURATION_ERROR": (500, "internal-error", "Something went wrong here"),
    "INTEGRATION_FAILURE": (502, "unavailable", "The API does not answer"),
    "INTEGRATION_TIMEOUT": (504, "unavailable", "The API does not answer"),
}
"""What API Gateway answers by itself: status, the end of the problem's type, title."""

_WITHOUT_AUTHORIZATION: Final[Mapping[str, str]] = {
    "open": "/health says that the process answers and no more: uptime checks ask without credentials.",
    "api_key": "authorization=api_key is for trying things out: prod refuses it, and other stages warn.",
}
"""Why a route may be so, by its way in."""


class RestApi(Construct):
    """Regional, with throttling, access logs that hold no ids, and its own refusals as problem documents."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        read: PythonFunction,
        write: PythonFunction,
        authorizer: PythonFunction | None,
    ) -> None:
        """`read` and `write` answer the routes of their scopes; `authorizer` is asked about tokens."""
        super().__init__(scope, construct_id)
        self._config = config
        self.access_logs = LogGroup(
            self, "AccessLogs", config=config, name=f"/aws/apigateway/{config.prefix}"
        )
        self.api = self._make_api(config)
        self._authorizer = self._make_authorizer(authorizer) if authorizer is not None else None
        self._validator = self.api.add_request_validator(
            "Validator", validate_request_body=True, validate_request_parameters=True
        )
        for route, needed in SCOPES.items():
            self._add_route(*route, needed, write if needed in {"write", "operator"} else read)
        self.plan = self._make_plan(config)
        self._answer_with_problems()
        self._explain()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return (
            f"https://{self.api.rest_api_id}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}"
            f"/{self.api.deployment_stage.stage_name}"
        )

    def _make_api(self, config: Config) -> aws_apigateway.RestApi:
        return aws_apigateway.RestApi(
            self,
            "Api",
            rest_api_name=config.prefix,
            description="Recommendations for a shop's pages, and what its visitors do",
            endpoint_types=[aws_apigateway.EndpointType.REGIONAL],
            disable_execute_api_endpoint=config.domain_name is not None,
            # One of an account: whoever has set it elsewhere says so.
            cloud_watch_role=config.api_gateway_log_role,
            default_cors_preflight_options=_preflight(config) if config.cors_origins else None,
            deploy_options=aws_apigateway.StageOptions(
                stage_name=config.stage,
                throttling_rate_limit=config.throttle_rate,
                throttling_burst_limit=config.throttle_burst,
                # By method they would cost more than a small stage's calls; those of the API come without.
                metrics_enabled=False,
                tracing_enabled=config.tracing,
                logging_level=aws_apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
                access_log_destination=aws_apigateway.LogGroupLogDestination(self.access_logs),
                access_log_format=aws_apigateway.AccessLogFormat.custom(json.dumps(_ACCESS_LOG)),
            ),
        )

    def _make_authorizer(self, function: PythonFunction) -> aws_apigateway.TokenAuthorizer:
        return aws_apigateway.TokenAuthorizer(
            self,
            "Authorizer",
            handler=function.alias,
            # So long a token is good after it was withdrawn; the function itself looks at its expiry.
            results_cache_ttl=Duration.minutes(5),
            validation_regex=r"^[Bb]earer [-0-9a-zA-Z._~+/]+=*$",
        )

    def _add_route(self, method: str, path: str, scope: Scope | None, function: PythonFunction) -> None:
        resource = self.api.root.resource_for_path(path)
        body = BODIES.get((method, path))
        parameters = {
            f"method.request.path.{name[1:-1]}": True for name in path.split("/") if name[:1] == "{"
        }
        added = resource.add_method(
            method,
            aws_apigateway.LambdaIntegration(function.alias, allow_test_invoke=False),
            request_parameters=parameters or None,
            request_validator=self._validator,
            request_models={_JSON: self._model(method, path, body)} if body is not None else None,
            **self._authorization(scope),
        )
        reason = _WITHOUT_AUTHORIZATION.get(self._way_in(scope))
        if reason is not None:
            acknowledge(added, {"AwsSolutions-APIG4": reason})

    def _way_in(self, scope: Scope | None) -> str:
        """`open`, or what a route of this scope takes."""
        if scope is None:
            return "open"
        return "iam" if scope == "operator" else self._config.authorization

    def _authorization(self, scope: Scope | None) -> dict[str, Any]:
        kinds = aws_apigateway.AuthorizationType
        ways: dict[str, dict[str, Any]] = {
            "open": {"authorization_type": kinds.NONE},
            "api_key": {"authorization_type": kinds.NONE, "api_key_required": True},
            "jwt": {"authorization_type": kinds.CUSTOM, "authorizer": self._authorizer},
            "iam": {"authorization_type": kinds.IAM},
        }
        return ways[self._way_in(scope)]

    def _model(self, method: str, path: str, required: tuple[str, ...]) -> aws_apigateway.Model:
        name = "".join(part.capitalize() for part in (method, *path.strip("/").split("/")))
        members = {
            member: aws_apigateway.JsonSchema(type=aws_apigateway.JsonSchemaType.ARRAY) for member in required
        }
        return self.api.add_model(
            name,
            content_type=_JSON,
            schema=aws_apigateway.JsonSchema(
                schema=aws_apigateway.JsonSchemaVersion.DRAFT4,
                title=name,
                type=aws_apigateway.JsonSchemaType.OBJECT,
                required=list(required) or None,
                properties=members or None,
            ),
        )

    def _make_plan(self, config: Config) -> aws_apigateway.UsagePlan:
        plan = self.api.add_usage_plan(
            "Plan",
            name=config.prefix,
            throttle=aws_apigateway.ThrottleSettings(
                rate_limit=config.throttle_rate, burst_limit=config.throttle_burst
            ),
        )
        plan.add_api_stage(stage=self.api.deployment_stage)
        return plan

    def make_key(self) -> aws_apigateway.IApiKey:
        """A key that callers send as `x-api-key`; its value is API Gateway's alone to tell."""
        key = self.api.add_api_key("Key", api_key_name=self._config.prefix, description="To try the API with")
        self.plan.add_api_key(key)
        return key

    def _answer_with_problems(self) -> None:
        for kind, (status, slug, title) in PROBLEMS.items():
            document = (
                f'{{"type": "urn:problem:{slug}", "title": "{title}", "status": {status}, '
                '"detail": $context.error.messageString, "errors": [], "trace_id": "$context.requestId"}'
            )
            headers = {"Content-Type": "'application/problem+json'"}
            if self._config.cors_origins:
                headers["Access-Control-Allow-Origin"] = "'*'"
            if status == 429:
                headers["Retry-After"] = "'1'"
            self.api.add_gateway_response(
                kind.title().replace("_", ""),
                type=aws_apigateway.ResponseType.of(kind),
                status_code=str(status),
                response_headers=headers,
                templates={_JSON: document},
            )

    def _explain(self) -> None:
        who = "Roles of the account or tokens of the shop's own issuer call, by the setting `authorization`."
        reasons = {
            "AwsSolutions-COG4": f"{who} There is no user pool to ask.",
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]": "What API Gateway demands of the role that it logs as.",
        }
        if not self._config.tracing:
            reasons["Serverless-APIGWXrayEnabled"] = (
                "The setting `tracing` is off: X-Ray charges by the trace."
            )
        acknowledge(self.api, reasons)


_ACCESS_LOG: Final = {
    # The route's template: a path would tell who was looked at.
    "route": "$context.resourcePath",
    "method": "$context.httpMethod",
    "status": "$context.status",
    "request_id": "$context.requestId",
    "trace_id": "$context.requestId",
    "latency_ms": "$context.responseLatency",
    "function_latency_ms": "$context.integrationLatency",
    "caller": "$context.identity.userArn",
    "api_key_id": "$context.identity.apiKeyId",
    "error": "$context.error.responseType",
    "waf": "$context.wafResponseCode",
    "bytes": "$context.responseLength",
    "time": "$context.requestTimeEpoch",
}


def _preflight(config: Config) -> aws_apigateway.CorsOptions:
    return aws_apigateway.CorsOptions(
        allow_origins=list(config.cors_origins),
        allow_methods=sorted({method for method, _ in SCOPES}),
        # With those that a signature by AWS takes beside `authorization`.
        allow_headers=[
            *("authorization", "content-type", "if-none-match", "x-api-key"),
            *("x-amz-content-sha256", "x-amz-date", "x-amz-security-token"),
        ],
        max_age=Duration.hours(1),
    )
