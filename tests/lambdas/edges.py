"""API Gateway's ways to find out who calls, for the local front: signatures checked with botocore's own signer."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twin.api_front import Authorizer, HttpRequest, UnauthorizedError

from lambdas.jwt_authorizer.authorizer import UnauthorizedError as BadTokenError

CREDENTIALS: Final = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
REGION: Final = "eu-central-1"
ROLE: Final = "arn:aws:sts::000000000000:assumed-role/shop/session"
API_KEY: Final = "a-key-for-trying-things-out"

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


def by_signature(request: HttpRequest) -> Mapping[str, Any]:
    """As AWS_IAM: the request is signed with the one pair of keys that there is."""
    headers = {name.lower(): value for name, value in request.headers}
    told = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if told is None:
        raise UnauthorizedError("Missing Authentication Token")
    key_id, date, region, service, signed_headers, signature = told.groups()
    expected = _signature(request, headers, signed_headers.split(";"))
    if (key_id, date) != (CREDENTIALS.access_key, headers["x-amz-date"][:8]):
        raise UnauthorizedError("The security token included in the request is invalid.")
    if (region, service, signature) != (REGION, "execute-api", expected):
        raise UnauthorizedError(
            "The request signature we calculated does not match the signature you provided."
        )
    return {"identity": {"userArn": ROLE, "caller": "AROAEXAMPLE:session", "accessKey": key_id}}


def _signature(request: HttpRequest, headers: Mapping[str, str], signed: list[str]) -> str:
    signer = SigV4Auth(CREDENTIALS, "execute-api", REGION)
    url = urlsplit(request.target)
    again = AWSRequest(
        method=request.method,
        url=f"http://{headers['host']}{url.path}",
        params=parse_qsl(url.query, keep_blank_values=True),
        headers={name: headers[name] for name in signed},
        data=request.body,
    )
    again.context["timestamp"] = headers["x-amz-date"]
    return signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)


def by_token(authorizer: Callable[[dict[str, Any]], dict[str, Any]]) -> Authorizer:
    """As a Lambda authorizer of the type TOKEN, which is asked before the function is."""

    def ask(request: HttpRequest) -> Mapping[str, Any]:
        headers = {name.lower(): value for name, value in request.headers}
        try:
            policy = authorizer(
                {
                    "type": "TOKEN",
                    "methodArn": f"arn:aws:execute-api:{REGION}:000000000000:local/local/{request.method}/",
                    "authorizationToken": headers.get("authorization", ""),
                }
            )
        except BadTokenError as error:
            raise UnauthorizedError(str(error)) from error
        return {"authorizer": {"principalId": policy["principalId"], **policy["context"]}}

    return ask


def by_key(request: HttpRequest) -> Mapping[str, Any]:
    """As a method that requires an API key."""
    headers = {name.lower(): value for name, value in request.headers}
    if headers.get("x-api-key") != API_KEY:
        raise UnauthorizedError("Forbidden")
    return {"identity": {"apiKey": API_KEY, "apiKeyId": "local"}}
