"""The program of the training container, by SageMaker's contract for `/opt/ml`.

```
/opt/ml/input/config/hyperparameters.json   every value a string
/opt/ml/input/data/events/                  the channel `events`: what lies below events/ in S3
/opt/ml/input/data/catalogue/               the channel `catalogue`, which may be absent: catalogue/ in S3
/opt/ml/model/                              becomes model.tar.gz
/opt/ml/checkpoints/                        what a run goes on from that was stopped before
/opt/ml/output/failure                      why the run failed, at most 1024 characters; exit status 1
```
SIGTERM means that the job is being stopped: the run ends at once, as failed. Started again, it goes on.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import json
import logging
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType

import structlog

from training.errors import BadInputError, UserError
from training.progress import heartbeat
from training.settings import Environment, Hyperparameters
from training.train import train

MAX_FAILURE_LENGTH = 1024

log = structlog.get_logger()


class StoppedError(BaseException):
    """SIGTERM came. No Exception: nothing but this program's edge may take it for a failure of its own."""


class Stop:
    """What SIGTERM does: the run ends where it is, and what ends it is remembered."""

    has_come = False

    def __call__(self, _signal_number: int, _frame: FrameType | None) -> None:
        """Note that it came. Raises StoppedError."""
        self.has_come = True
        raise StoppedError


def main() -> int:
    """Train, and leave the reason where the run fails; the exit status."""
    configure_logging()
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    try:
        refuse_unwritable(base)
        settings = Hyperparameters.from_strings(read_hyperparameters(base))
        with heartbeat():
            train(
                channels=base / "input/data",
                model_folder=base / "model",
                settings=settings,
                environment=Environment.read(),
                checkpoint_folder=base / "checkpoints",
            )
    except (StoppedError, Exception) as error:  # noqa: BLE001 - the edge: SageMaker shows the failure file
        return fail(base, reason_of(error, is_stopped=stop.has_come))
    return 0


def reason_of(error: BaseException, *, is_stopped: bool) -> str:
    """Why the run ended. What a stop interrupted may say so in words of its own, as DuckDB does."""
    if is_stopped:
        return "stopped by SIGTERM before the training was done; the same job goes on from its checkpoint"
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def refuse_unwritable(base: Path) -> None:
    """Raise BadInputError where nothing can be left, before hours are spent on it."""
    for name in ("model", "output"):
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BadInputError(
                f"{folder}: user id {os.getuid()} can't write here ({error.strerror}); run the container as "
                "a user who may, or let this one (docs/training_image.md)"
            ) from error


def read_hyperparameters(base: Path) -> dict[str, str]:
    """Hyperparameters as SageMaker leaves them. Raises BadInputError where they are no JSON object."""
    file = base / "input/config/hyperparameters.json"
    if not file.exists():
        return {}
    try:
        values = json.loads(file.read_text())
    except ValueError as error:
        raise BadInputError(f"{file}: is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise BadInputError(f"{file}: expected an object of strings, found a {type(values).__name__}")
    return values


def fail(base: Path, reason: str) -> int:
    """Tell the reason in the log and in the failure file; the exit status."""
    log.error("training failed", reason=reason)
    file = base / "output/failure"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(reason[:MAX_FAILURE_LENGTH])
    except OSError as error:
        log.error("the reason could not be left", file=str(file), reason=error.strerror)  # noqa: TRY400
    return 1


def configure_logging() -> None:
    """One line an event, fields as key=value: what CloudWatch shows and metric expressions read."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


if __name__ == "__main__":
    sys.exit(main())
