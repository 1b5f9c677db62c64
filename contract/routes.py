"""The API's routes and the scope that each takes: the function checks it, the edge is configured by it."""

from collections.abc import Mapping
from typing import Final, Literal

Scope = Literal["read", "write", "operator"]

SCOPES: Final[Mapping[tuple[str, str], Scope | None]] = {
    ("GET", "/v1/users/{user_id}/recommendations"): "read",
    ("POST", "/v1/recommendations"): "read",
    ("POST", "/v1/recommendations/batch"): "read",
    ("GET", "/v1/items/{item_id}/similar"): "read",
    ("GET", "/v1/items/{item_id}/bought-together"): "read",
    ("GET", "/v1/popular"): "read",
    ("GET", "/v1/model"): "read",
    ("GET", "/v1/stats"): "read",
    ("GET", "/ready"): "read",
    ("POST", "/v1/events"): "write",
    ("PUT", "/v1/items"): "write",
    ("GET", "/v1/users/{user_id}"): "operator",
    ("DELETE", "/v1/users/{user_id}"): "operator",
    ("GET", "/health"): None,
}
"""By method and template of the route; None where nobody needs any."""


def scope_of(method: str, path: str) -> Scope | None:
    """The scope of a route; of one that SCOPES lacks the narrowest."""
    return SCOPES.get((method, path), "operator")
