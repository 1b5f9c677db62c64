"""In place of the training's program where a test is about what is around it: it publishes a small version.

The hyperparameter `do` says otherwise: `fail`, with a reason; `keep`, as the gate finds what is served better;
`wait`, until it is told to stop.
"""

import json
import os
import sys
import time
from pathlib import Path

from contract.gate import GATE_SCHEMA_VERSION
from contract.s3_layout import gate_key
from tests.training.published import publish
from training.storage import Folder


def main() -> int:
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    given = json.loads((base / "input/config/hyperparameters.json").read_text())
    do = given.get("do", "publish")
    if do == "fail":
        (base / "output/failure").write_text("no add_to_cart and no purchase among 80 events")
        return 1
    if do == "wait":
        sys.stdout.write("waiting\n")
        sys.stdout.flush()
        time.sleep(600)
    # The same run gives the same version, as the real one's checkpoints see to.
    version = given.get("version") or f"{given['as_of'].replace('-', '').replace(':', '')}-{'0' * 8}"
    output = Folder(os.environ["RECOMMENDATIONS_URI"])
    outcome = "kept" if do == "keep" else "promoted"
    if outcome == "promoted" and not output.exists(f"recommendations/{version}/manifest.json"):
        publish(output, version, users=int(given.get("users", 30)))
    decision = {
        "schema_version": GATE_SCHEMA_VERSION,
        "version": version,
        "outcome": outcome,
        "reason": "what is served is better" if do == "keep" else "it is better",
    }
    (base / "model/gate.json").write_text(json.dumps(decision))
    output.write(gate_key(version), json.dumps(decision).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
