"""What the framework of the API costs: beside a bare handler, and beside what tutorials show."""

from typing import Final

WRAPPED: Final = "WRAPPED_HANDLER"
"""The environment variable that names the handler whose start `benchmarks.api.cold` measures."""
