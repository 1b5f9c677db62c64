"""Deployments that tests make up, of what runs for them."""

from typing import Any

from tasks.deployment import Deployment
from twin.s3 import REGION


def deployment(**values: Any) -> Deployment:
    """One that reaches nothing but what `values` name."""
    nowhere = {
        "stage": "local",
        "region": REGION,
        "prefix": "shop-local",
        "events_uri": "s3://shop",
        "recommendations_uri": "s3://shop",
        "mlflow_tracking_uri": "http://127.0.0.1:9",
        "database_url": "postgresql://127.0.0.1:9/shop",
        "read_function": "api-read",
    }
    return Deployment.model_validate({**nowhere, **values})
