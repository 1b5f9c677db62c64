"""Where moto finds the operations."""

from moto.sagemaker.urls import url_bases

from twin.sagemaker.responses import TrainingResponse

url_paths = {"{0}/$": TrainingResponse.dispatch}

__all__ = ["url_bases", "url_paths"]
