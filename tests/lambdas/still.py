"""A handler that does nothing: what its process takes is the runtime client's."""

from typing import Any

BODY = "x" * 1500


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    return {"statusCode": 200, "headers": {}, "body": BODY, "isBase64Encoded": False}
