"""What a browser needs to let a page of another origin read an answer."""

import pytest

from lambdas.recommendations_api.settings import Settings
from tests.lambdas.conftest import MakeApi

SHOP = "https://www.shop.example"


@pytest.mark.parametrize("path", ["/v1/popular", "/v1/items/nothing/similar", "/v1/nowhere"])
def test_a_page_of_a_known_origin_may_read_answers_and_refusals(
    stored: str, make_api: MakeApi, path: str
) -> None:
    api = make_api(cors_origins=(SHOP, "https://m.shop.example"))
    headers = api.get(path, headers={"Origin": SHOP}).headers
    assert headers["access-control-allow-origin"] == SHOP
    assert headers["vary"] == "Origin"
    assert "ETag" in headers["access-control-expose-headers"]


def test_a_page_of_any_other_origin_may_not(stored: str, make_api: MakeApi) -> None:
    api = make_api(cors_origins=(SHOP,))
    assert (
        "access-control-allow-origin"
        not in api.get("/v1/popular", headers={"Origin": "https://evil.example"}).headers
    )


def test_without_the_setting_no_page_may(stored: str, make_api: MakeApi) -> None:
    answer = make_api().get("/v1/popular", headers={"Origin": SHOP})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_callers_that_are_no_browsers_see_no_difference(stored: str, make_api: MakeApi) -> None:
    with_setting, without = make_api(cors_origins=(SHOP,)), make_api()
    one, other = with_setting.get("/v1/popular"), without.get("/v1/popular")
    assert (one.status, one.headers.get("etag"), one.item_ids) == (
        other.status,
        other.headers.get("etag"),
        other.item_ids,
    )


def test_origins_are_a_list_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/nowhere")
    monkeypatch.setenv("CORS_ORIGINS", f"{SHOP}, https://m.shop.example")
    assert Settings().cors_origins == (SHOP, "https://m.shop.example")
