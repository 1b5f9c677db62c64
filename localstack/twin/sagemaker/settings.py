"""How the stand-in trains."""

import sys

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """What a job's request doesn't tell: the real service has it from the image and from the world."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    program: tuple[str, ...] = (sys.executable, "-m", "training.container")
    """What runs in place of the image's entry point."""
    image_environment: dict[str, str] = {}
    """The variables that the image would set."""
    stop_seconds: float = Field(default=120, ge=0)
    """From SIGTERM to SIGKILL."""
    interrupt_spot: str = ""
    """Jobs whose names match this pattern, as in a shell, and that run on spot capacity lose their instance
    once: when they have brought a checkpoint to S3, or, where they are given no place for checkpoints, when
    they have written a line of log."""
