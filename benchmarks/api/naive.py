"""The API as tutorials show it: FastAPI, Mangum, a database and metrics, each as its first page has it.

Spared it: a query for each kind of list. It has the API's single one.
"""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
from fastapi import FastAPI, Request, Response
from mangum import Mangum
from prometheus_client import CollectorRegistry, Counter, Histogram, push_to_gateway
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

from benchmarks.api.answer import document_of, read_question

# Made as tutorials do, to fetch the password by; nothing is asked of it here.
secrets = boto3.client("secretsmanager")
pool = ConnectionPool(os.environ["DATABASE_URL"])
question = read_question()

registry = CollectorRegistry()
requests = Counter("requests", "Requests.", ["path", "status"], registry=registry)
seconds = Histogram("request_seconds", "Time of requests.", registry=registry)


class Item(BaseModel):
    """One recommended item."""

    item_id: str
    score: float
    rank: int
    source: str
    reasons: list[str]


class Recommendations(BaseModel):
    """An answer."""

    model_version: str
    generated_at: str
    source: str
    items: list[Item]


app = FastAPI()


@app.get("/v1/users/{user_id}/recommendations", response_model=Recommendations)
def recommend(user_id: str, limit: int = 10) -> Any:
    """What to show a visitor."""
    with pool.connection() as connection:
        rows = connection.execute(question.statement.encode(), question.values_for(user_id)).fetchall()
    return document_of(rows, question, limit=limit)


async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Count a request and push."""
    started = time.perf_counter()
    response = await call_next(request)
    seconds.observe(time.perf_counter() - started)
    requests.labels("/v1/users/{user_id}/recommendations", response.status_code).inc()
    push_to_gateway(os.environ["PUSHGATEWAY_URL"], job="naive", registry=registry)
    return response


if "PUSHGATEWAY_URL" in os.environ:
    app.middleware("http")(measure)

handler = Mangum(app)
