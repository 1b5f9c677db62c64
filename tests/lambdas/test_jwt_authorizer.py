"""Who is let through by a token, and that nobody else is."""

import base64
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jwt import api_jws
from lambda_executor import Function
from pydantic import ValidationError
from twin.processes import free_port

from lambdas.jwt_authorizer.authorizer import Authorizer, UnauthorizedError
from lambdas.jwt_authorizer.events import MalformedEventError
from lambdas.jwt_authorizer.keys import KeysUnavailableError
from lambdas.jwt_authorizer.settings import Settings
from tests.lambdas.callers import event as posted
from tests.lambdas.callers import proxy_event
from tests.lambdas.conftest import MakeApi
from tests.lambdas.issuer import (
    AUDIENCE,
    DISCOVERY,
    Issuer,
    SigningKey,
    ec_key,
    rsa_key,
    running_issuer,
    signed_by_hand,
)
from tests.lambdas.servers import black_hole

ROOT = Path(__file__).parents[2]
STAGE = "arn:aws:execute-api:eu-central-1:000000000000:abcdef123/prod"
METHOD_ARN = f"{STAGE}/GET/v1/users/u-1/recommendations"
RSA, EC, OTHER = rsa_key("rsa-1"), ec_key("ec-1"), rsa_key("rsa-1")
"""The last one is somebody else's, under the id of ours."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as server:
        server.publish(RSA, EC)
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authorizer(issuer: Issuer, clock: Clock) -> Authorizer:
    return make(issuer, clock)


def make(issuer: Issuer | str, clock: Clock | None = None, **values: Any) -> Authorizer:
    usual: dict[str, Any] = {
        "jwt_issuer": issuer if isinstance(issuer, str) else issuer.url,
        "jwt_audience": AUDIENCE,
        # This machine may be busy.
        "jwks_timeout_seconds": 10,
    }
    return Authorizer(Settings(**{**usual, **values}), clock=clock or Clock())


def by_token(token: str | None, arn: str = METHOD_ARN) -> dict[str, Any]:
    return {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": arn}


def by_request(headers: dict[str, str], arn: str = METHOD_ARN) -> dict[str, Any]:
    return {
        "type": "REQUEST",
        "methodArn": arn,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
    }


def refused(authorizer: Authorizer, event: dict[str, Any]) -> None:
    with pytest.raises(UnauthorizedError) as told:
        authorizer(event)
    assert str(told.value) == "Unauthorized", "API Gateway makes a 401 of this word and no other"


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
def test_a_good_token_opens_the_whole_stage(authorizer: Authorizer, issuer: Issuer, key: SigningKey) -> None:
    answer = authorizer(by_token(key.sign(issuer.claims(scope="openid write read"))))
    assert answer == {
        "principalId": "somebody",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{STAGE}/*"}],
        },
        "context": {"scope": "read write", "sub": "somebody"},
    }


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_request_event_is_understood_in_any_case(
    authorizer: Authorizer, issuer: Issuer, name: str, scheme: str
) -> None:
    token = RSA.sign(issuer.claims())
    event = by_request({"Host": "api.test", name: f"{scheme} {token}"})
    assert authorizer(event)["context"]["scope"] == "read"
    del event["multiValueHeaders"]
    assert authorizer(event)["context"]["scope"] == "read"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"exp": int(time.time()) - 3600}, id="exp an hour ago"),
        {"exp": None},
        {"exp": "soon"},
        pytest.param({"nbf": int(time.time()) + 3600}, id="nbf in an hour"),
        pytest.param({"iat": int(time.time()) + 3600}, id="iat in an hour"),
        {"iss": "https://somebody-else.test"},
        {"iss": None},
        {"iss": ["a", "b"]},
        {"aud": "https://another-api.test"},
        {"aud": ["https://another-api.test"]},
        {"aud": None},
        {"aud": []},
        {"aud": ""},
        {"aud": {AUDIENCE: 1}},
        {"aud": [[AUDIENCE]]},
        {"sub": 7},
        {"token_use": "id"},
        {"aud": None, "client_id": "a-client"},
    ],
    ids=str,
)
def test_a_token_with_claims_that_are_not_good_is_refused(
    authorizer: Authorizer, issuer: Issuer, change: dict[str, Any]
) -> None:
    assert authorizer(by_token(RSA.sign(issuer.claims())))
    # PyJWT does not sign what it knows to be wrong.
    token = _sign(RSA, issuer.claims(**change))
    refused(authorizer, by_token(token))


def _sign(key: SigningKey, claims: dict[str, Any]) -> str:
    return api_jws.encode(
        json.dumps(claims).encode(), key.private, algorithm=key.algorithm, headers={"kid": key.kid}
    )


def test_clocks_may_differ_by_the_leeway_and_no_more(issuer: Issuer) -> None:
    late = RSA.sign(issuer.claims(exp=int(time.time()) - 60))
    assert make(issuer, jwt_leeway_seconds=300)(by_token(late))
    refused(make(issuer, jwt_leeway_seconds=0), by_token(late))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 7, ["RS256"]])
def test_a_token_without_a_signature_is_refused(authorizer: Authorizer, issuer: Issuer, alg: Any) -> None:
    refused(authorizer, by_token(signed_by_hand({"alg": alg, "kid": RSA.kid}, issuer.claims(), None)))
    assert issuer.asked == [], "no key is looked for"


@pytest.mark.parametrize("alg", ["HS256", "RS256", "ES256"])
@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    authorizer: Authorizer, issuer: Issuer, alg: str, key: SigningKey
) -> None:
    secrets = [key.public_pem, key.public_pem.strip(), json.dumps(key.jwk).encode()]
    for secret in secrets:
        refused(
            authorizer,
            by_token(signed_by_hand({"alg": alg, "typ": "JWT", "kid": key.kid}, issuer.claims(), secret)),
        )


def test_an_issuer_that_publishes_a_secret_lets_nobody_sign_with_it(issuer: Issuer) -> None:
    secret = b"s" * 32
    oct_key = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}
    issuer.publish(RSA, others=(oct_key, {**oct_key, "kid": "other", "alg": "RS256"}))
    for kid in ("secret", "other"):
        for alg in ("HS256", "RS256"):
            token = signed_by_hand({"alg": alg, "kid": kid}, issuer.claims(), secret)
            refused(make(issuer), by_token(token))


def test_a_key_is_used_with_its_own_algorithm_alone(authorizer: Authorizer, issuer: Issuer) -> None:
    refused(authorizer, by_token(SigningKey(EC.kid, RSA.private).sign(issuer.claims())))
    refused(authorizer, by_token(SigningKey(RSA.kid, EC.private).sign(issuer.claims())))


def test_an_algorithm_that_is_not_asked_for_is_refused(issuer: Issuer) -> None:
    only = make(issuer, jwt_algorithms="ES256")
    assert only(by_token(EC.sign(issuer.claims())))
    refused(only, by_token(RSA.sign(issuer.claims())))


def test_a_token_of_somebody_else_under_the_id_of_our_key_is_refused(
    authorizer: Authorizer, issuer: Issuer
) -> None:
    assert authorizer(by_token(RSA.sign(issuer.claims())))
    refused(authorizer, by_token(OTHER.sign(issuer.claims())))


def test_a_token_cannot_bring_its_own_key(authorizer: Authorizer, issuer: Issuer) -> None:
    headers = {"jwk": OTHER.jwk, "jku": f"{issuer.url}/evil", "x5u": f"{issuer.url}/evil"}
    refused(authorizer, by_token(OTHER.sign(issuer.claims(), **headers)))
    assert "/evil" not in issuer.asked


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_that_was_changed_is_refused(authorizer: Authorizer, issuer: Issuer, part: int) -> None:
    parts = RSA.sign(issuer.claims()).split(".")
    others = RSA.sign(issuer.claims(scope="read write", sub="another"), typ="at+jwt").split(".")
    parts[part] = others[part]
    refused(authorizer, by_token(".".join(parts)))


@pytest.mark.parametrize(
    "unusable",
    [
        {"use": "enc"},
        {"alg": "RSA-OAEP"},
        {"alg": "PS256"},
        {"key_ops": ["encrypt"]},
        {"n": "AQAB"},
        {"n": 7},
        {"kid": None},
    ],
    ids=str,
)
def test_a_published_key_that_is_not_for_this_is_passed_over(
    issuer: Issuer, unusable: dict[str, Any]
) -> None:
    other = rsa_key("rsa-2")
    issuer.publish(RSA, others=({**other.jwk, **unusable}, None, 7, {}))
    authorizer = make(issuer)
    assert authorizer(by_token(RSA.sign(issuer.claims())))
    refused(authorizer, by_token(other.sign(issuer.claims())))


def test_keys_that_are_too_weak_are_passed_over_or_refused(issuer: Issuer) -> None:
    weak = SigningKey("weak", rsa.generate_private_key(65537, 1024))  # noqa: S505 - on purpose
    curve = SigningKey("curve", ec.generate_private_key(ec.SECP384R1()))
    issuer.publish(RSA, others=(weak.jwk, {**curve.jwk, "alg": "ES384"}))
    with pytest.warns(match="below the minimum"):
        token = weak.sign(issuer.claims())
    refused(make(issuer), by_token(token))


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer ", "Basic dTpw", "token", "Bearer a b", None, 7, "Bearer  ", "Bearer\ta b"],
)
def test_a_call_without_one_bearer_token_is_refused(
    authorizer: Authorizer, issuer: Issuer, value: Any
) -> None:
    refused(authorizer, {"type": "TOKEN", "authorizationToken": value, "methodArn": METHOD_ARN})
    refused(authorizer, by_request({"Authorization": value}))
    assert issuer.asked == []


def test_a_call_with_no_header_or_several_is_refused(authorizer: Authorizer, issuer: Issuer) -> None:
    good = f"Bearer {RSA.sign(issuer.claims())}"
    refused(authorizer, by_request({"X-Authorization": good}))
    refused(authorizer, {"type": "REQUEST", "methodArn": METHOD_ARN, "headers": None})
    refused(authorizer, {"methodArn": METHOD_ARN})
    refused(authorizer, {**by_request({}), "multiValueHeaders": {"Authorization": [good, good]}})
    refused(authorizer, by_request({"Authorization": good, "authorization": good}))


@pytest.mark.parametrize(
    "token", ["a", "a.b", "a.b.c", "...", "e30.e30.e30", "a.b.c.d.e", "\ud800", "é.é.é", "[]", "x" * 20_000]
)
def test_garbage_is_refused(authorizer: Authorizer, token: str) -> None:
    refused(authorizer, by_token(token))


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["RS256", "rsa-1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), inner, max_size=5)
        ),
        max_leaves=8,
    ),
    payload=st.binary(max_size=60),
    signature=st.binary(max_size=300),
)
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_else(
    authorizer: Authorizer, header: Any, payload: bytes, signature: bytes
) -> None:
    parts = (json.dumps(header).encode(), payload, signature)
    refused(
        authorizer,
        by_token(".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)),
    )


def test_headers_nested_too_deep_are_refused(authorizer: Authorizer) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    refused(authorizer, by_token(f"{deep}.e30.e30"))


def test_scopes_count_with_their_prefix_alone(issuer: Issuer) -> None:
    prefixed = make(issuer, jwt_scope_prefix="shop/")
    claims = issuer.claims(scope="read other/write shop/write shop/operator")
    assert prefixed(by_token(RSA.sign(claims)))["context"]["scope"] == "write"
    assert make(issuer)(by_token(RSA.sign(claims)))["context"]["scope"] == "read"


@pytest.mark.parametrize(
    ("claims", "scope"),
    [
        ({"scope": None}, ""),
        ({"scope": "operator"}, ""),
        ({"scope": "read write operator"}, "read write"),
        ({"scope": "READ reading"}, ""),
        ({"scope": ["read", "write"]}, "read write"),
        ({"scope": None, "scp": ["write", 7]}, "write"),
        ({"scope": "read", "scp": "write"}, "read write"),
        ({"scope": {"read": 1}}, ""),
        ({"scope": 7}, ""),
    ],
)
def test_a_token_grants_read_and_write_at_most(
    authorizer: Authorizer, issuer: Issuer, claims: dict[str, Any], scope: str
) -> None:
    context = authorizer(by_token(RSA.sign(issuer.claims(**claims))))["context"]
    assert context["scope"] == scope


def test_a_token_without_an_audience_is_taken_from_the_clients_that_are_named(issuer: Issuer) -> None:
    authorizer = make(issuer, jwt_audience="", jwt_client_ids="a-client, b-client")
    of_client = {"aud": None, "token_use": "access", "sub": None}
    for client in ("a-client", "b-client"):
        answer = authorizer(by_token(RSA.sign(issuer.claims(**of_client, client_id=client))))
        assert answer["principalId"] == client
    for client in ("c-client", "", None, 7, ["a-client"]):
        refused(authorizer, by_token(RSA.sign(issuer.claims(**of_client, client_id=client))))
    # One for another API, though by a client of ours.
    refused(authorizer, by_token(RSA.sign(issuer.claims(aud="https://x.test", client_id="a-client"))))


def test_keys_are_read_once_and_again_when_they_are_old(
    authorizer: Authorizer, issuer: Issuer, clock: Clock
) -> None:
    assert issuer.asked == []
    for _ in range(5):
        authorizer(by_token(RSA.sign(issuer.claims())))
    assert issuer.asked == [DISCOVERY, "/keys"]
    clock.now += 3601
    authorizer(by_token(RSA.sign(issuer.claims())))
    assert issuer.asked == [DISCOVERY, "/keys"] * 2


def test_a_key_that_was_withdrawn_is_good_until_the_keys_are_read_again(
    authorizer: Authorizer, issuer: Issuer, clock: Clock
) -> None:
    authorizer(by_token(RSA.sign(issuer.claims())))
    issuer.publish(EC)
    authorizer(by_token(RSA.sign(issuer.claims())))
    clock.now += 3601
    refused(authorizer, by_token(RSA.sign(issuer.claims())))


def test_a_key_after_a_rotation_is_found_and_unknown_ones_are_looked_for_once_in_a_while(
    authorizer: Authorizer, issuer: Issuer, clock: Clock
) -> None:
    new = rsa_key("rsa-2")
    authorizer(by_token(RSA.sign(issuer.claims())))
    clock.now += 11
    for number in range(20):
        refused(authorizer, by_token(SigningKey(f"unknown-{number}", OTHER.private).sign(issuer.claims())))
    assert len(issuer.asked) == 4, "discovery and keys, at first and once more"
    issuer.publish(RSA, new)
    refused(authorizer, by_token(new.sign(issuer.claims())))
    clock.now += 11
    assert authorizer(by_token(new.sign(issuer.claims())))
    assert authorizer(by_token(RSA.sign(issuer.claims())))
    assert len(issuer.asked) == 6


def unavailable(authorizer: Authorizer, token: str) -> None:
    """API Gateway makes a 500 of any error with another message than `Unauthorized`."""
    with pytest.raises(KeysUnavailableError) as told:
        authorizer(by_token(token))
    assert str(told.value) != "Unauthorized"


def test_an_issuer_that_is_down_lets_nobody_through_and_is_left_alone_for_a_while(
    issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    authorizer = make(issuer, clock)
    issuer.status = 503
    token = RSA.sign(issuer.claims())
    for _ in range(3):
        unavailable(authorizer, token)
    assert issuer.asked == [DISCOVERY]
    assert "no token can be verified" in caplog.text
    assert "the answer was 503" in caplog.text
    issuer.status = 200
    clock.now += 11
    assert authorizer(by_token(token))


def test_keys_that_are_known_serve_while_the_issuer_is_down_until_they_are_old(
    authorizer: Authorizer, issuer: Issuer, clock: Clock
) -> None:
    token = RSA.sign(issuer.claims())
    authorizer(by_token(token))
    issuer.status = 503
    clock.now += 3000
    unavailable(authorizer, SigningKey("unknown", OTHER.private).sign(issuer.claims()))
    assert authorizer(by_token(token))
    clock.now += 3600
    unavailable(authorizer, token)


def test_nobody_is_let_through_where_nothing_listens_or_nothing_answers() -> None:
    with running_issuer() as nobody:
        token = RSA.sign(nobody.claims())
    unavailable(make(f"http://127.0.0.1:{free_port()}"), token)
    with black_hole() as url:
        unavailable(make(url, jwks_timeout_seconds=0.2), token)
        unavailable(make("https://issuer.test", jwks_url=f"{url}/keys", jwks_timeout_seconds=0.2), token)


@pytest.mark.parametrize(
    "document", [b"", b"<html>", b"[]", b"null", {}, {"keys": 1}, {"keys": []}, {"keys": [1]}, b"[" * 100_000]
)
def test_an_issuer_that_publishes_no_keys_lets_nobody_through(issuer: Issuer, document: Any) -> None:
    issuer.documents["/keys"] = document
    unavailable(make(issuer), RSA.sign(issuer.claims()))


def test_a_set_of_keys_that_is_too_large_is_not_read(issuer: Issuer) -> None:
    issuer.documents["/keys"] = {"keys": [RSA.jwk], "more": "x" * 2_000_000}
    unavailable(make(issuer), RSA.sign(issuer.claims()))


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://somebody-else.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://somebody-else.test/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
    ids=str,
)
def test_a_discovery_document_that_cannot_be_trusted_is_not_followed(
    issuer: Issuer, change: dict[str, Any]
) -> None:
    issuer.documents[DISCOVERY] |= change
    unavailable(make(issuer), RSA.sign(issuer.claims()))
    assert issuer.asked == [DISCOVERY]


def test_a_url_of_keys_that_is_given_needs_no_discovery(issuer: Issuer) -> None:
    assert make(issuer, jwks_url=f"{issuer.url}/keys")(by_token(RSA.sign(issuer.claims())))
    assert issuer.asked == ["/keys"]


@pytest.mark.parametrize("arn", [None, 7, "", "arn", "arn:aws:execute-api", "arn:x//GET", "a/b/c", "arn:a/b"])
def test_an_event_without_the_arn_of_a_method_is_no_allow(
    authorizer: Authorizer, issuer: Issuer, arn: Any
) -> None:
    with pytest.raises(MalformedEventError):
        authorizer(by_token(RSA.sign(issuer.claims()), arn=arn))


def test_nothing_of_a_token_is_logged(
    authorizer: Authorizer, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"sub": "subject-of-a-token", "scope": "scope-of-a-token", "client_id": "client-of-a-token"}
    tokens = [
        RSA.sign(issuer.claims(**secret)),
        RSA.sign(issuer.claims(**secret, exp=1)),
        RSA.sign(issuer.claims(**secret, aud="audience-of-a-token")),
        OTHER.sign(issuer.claims(**secret)),
        SigningKey("kid-of-a-token", OTHER.private).sign(issuer.claims(**secret)),
        signed_by_hand({"alg": "alg-of-a-token"}, issuer.claims(**secret), None),
        "garbage-of-a-token",
    ]
    assert authorizer(by_token(tokens[0]))
    for token in tokens[1:]:
        with pytest.raises(UnauthorizedError) as told:
            authorizer(by_token(token))
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__, "else Lambda would log what was the matter, word by word"
    assert "not authorized" in caplog.text
    assert "of-a-token" not in caplog.text
    assert not any(part in caplog.text for token in tokens for part in token.split(".") if len(part) > 8)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"jwt_audience": ""}, "JWT_AUDIENCE"),
        ({"jwt_audience": " , "}, "JWT_AUDIENCE"),
        ({"jwt_issuer": "http://issuer.test"}, "jwt_issuer"),
        ({"jwt_issuer": "issuer"}, "jwt_issuer"),
        ({"jwks_url": "ftp://issuer.test"}, "jwks_url"),
        ({"jwks_url": "http://issuer.test/keys"}, "jwks_url"),
        ({"jwt_algorithms": "HS256"}, "jwt_algorithms"),
        ({"jwt_algorithms": "RS256,none"}, "jwt_algorithms"),
        ({"jwt_algorithms": ","}, "jwt_algorithms"),
        ({"jwks_cache_seconds": 5}, "JWKS_CACHE_SECONDS"),
    ],
)
def test_settings_that_would_let_strangers_in_are_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{"jwt_issuer": "https://issuer.test", "jwt_audience": AUDIENCE, **values})


def test_lists_come_from_variables_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test/")
    monkeypatch.setenv("JWT_AUDIENCE", "a, b,")
    monkeypatch.setenv("JWT_ALGORITHMS", "ES256")
    told = Settings()
    assert (told.jwt_audience, told.jwt_algorithms) == (("a", "b"), ("ES256",))
    assert told.jwt_issuer == "https://issuer.test/", "as it is written"


@pytest.mark.parametrize("scope", ["", "read", "write", "read write", "read write operator"])
def test_the_api_opens_what_the_scopes_of_the_token_say(
    make_api: MakeApi, stored: str, authorizer: Authorizer, issuer: Issuer, scope: str
) -> None:
    answer = authorizer(by_token(EC.sign(issuer.claims(scope=scope))))
    api = make_api(authorization="jwt")

    def status(method: str, target: str, body: Any = None) -> int:
        event = proxy_event(method, target, body=None if body is None else json.dumps(body))
        # As API Gateway hands it on: what the authorizer said, every value a text.
        event["requestContext"]["authorizer"] = {
            "principalId": answer["principalId"],
            "integrationLatency": 3,
            **answer["context"],
        }
        return api.send(event).status

    may_read, may_write = "read" in scope.split(), "write" in scope.split()
    assert status("GET", "/v1/users/known/recommendations") == (200 if may_read else 403)
    assert status("POST", "/v1/events", {"events": [posted("u", "a")]}) == (202 if may_write else 403)
    assert status("GET", "/v1/users/known") == 403
    assert status("DELETE", "/v1/users/known") == 403
    assert api.get("/v1/popular").status == 401, "without an authorizer there is no token"


def test_importing_the_handler_is_light_and_asks_for_no_key() -> None:
    program = (
        "import sys, threading, lambdas.jwt_authorizer.handler\n"
        "heavy = ('fastapi', 'mangum', 'psycopg', 'boto3', 'botocore', 'numpy', 'prometheus_client', 'requests')\n"
        "print([name for name in heavy if name in sys.modules], threading.active_count())"
    )
    environment = {"JWT_ISSUER": f"http://127.0.0.1:{free_port()}", "JWT_AUDIENCE": AUDIENCE}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == ("[] 1\n", "")


def test_under_the_real_runtime_client_errors_are_what_api_gateway_looks_for(
    issuer: Issuer, tmp_path: Path
) -> None:
    environment = {"JWT_ISSUER": issuer.url, "JWT_AUDIENCE": AUDIENCE, "JWKS_TIMEOUT_SECONDS": "10"}
    with Function(
        handler="lambdas.jwt_authorizer.handler.handler",
        code=ROOT,
        environment=environment,
        log_file=tmp_path / "log",
    ) as function:

        def ask(token: str) -> tuple[bool, dict[str, Any]]:
            answer = function.invoke(json.dumps(by_token(token)).encode())
            return answer.is_error, json.loads(answer.payload)

        issuer.status = 503
        is_error, told = ask(RSA.sign(issuer.claims()))
        assert is_error
        assert told["errorType"] == "KeysUnavailableError"
        issuer.status = 200
        # Another environment, which has not just failed.
        function.stop()
    with Function(
        handler="lambdas.jwt_authorizer.handler.handler",
        code=ROOT,
        environment=environment,
        log_file=tmp_path / "log",
    ) as function:
        is_error, told = ask(RSA.sign(issuer.claims()))
        assert not is_error
        assert told["context"] == {"scope": "read", "sub": "somebody"}
        expired = RSA.sign(issuer.claims(exp=1, sub="subject-of-a-token"))
        is_error, told = ask(expired)
        assert (is_error, told["errorMessage"]) == (True, "Unauthorized")
    log = (tmp_path / "log").read_text()
    assert "ExpiredSignatureError" in log
    assert not any(part in log for part in (*expired.split(".")[1:], "subject-of-a-token"))
