"""A handler without a framework: the floor that no API in Python gets below."""

import json
import os
from typing import Any

import psycopg

from benchmarks.api.answer import document_of, read_question

question = read_question()
connection: psycopg.Connection[tuple[Any, ...]] | None = None


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer `/v1/users/{user_id}/recommendations`, and nothing else."""
    global connection  # noqa: PLW0603 - what a warm environment keeps
    if connection is None:
        connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        connection.execute("SET plan_cache_mode = force_generic_plan")
    user_id = event["path"].split("/")[3]
    limit = int(event["queryStringParameters"]["limit"])
    rows = connection.execute(
        question.statement.encode(), question.values_for(user_id), prepare=True, binary=True
    ).fetchall()
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document_of(rows, question, limit=limit)),
    }
