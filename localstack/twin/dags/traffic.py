"""Visitors of the shop, whose posts the retrain exports."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twin.api_front import ApiFront, HttpRequest
from twin.dags.shop import Shop
from twin.visits import ApiClient, look


@contextmanager
def calling(shop: Shop) -> Iterator[ApiClient]:
    """A client of the shop's API, over HTTP, as one whom IAM lets do all."""
    with ApiFront(shop.function, authorizer=_allowed) as front:
        client = ApiClient(front.url)
        yield client
        client.close()


def visit(client: ApiClient, users: Sequence[str], items: Sequence[str]) -> int:
    """Let each user look at an item; how many events were posted."""
    for number, user in enumerate(users):
        look(client, user, items[number % len(items)])
    return len(users)


def _allowed(_request: HttpRequest) -> Mapping[str, Any]:
    return {"identity": {"userArn": "arn:aws:iam::000000000000:user/shop"}}
