"""Visitors with known habits: whether the metrics find all of their rates out."""

import json
import subprocess
import sys

from benchmarks.bars import FOLDER, Bar, write

SIMULATION = FOLDER / "simulation"


def run() -> list[Bar]:
    """Simulate. Raises RuntimeError where nothing came of it."""
    summary = SIMULATION / "summary.json"
    summary.unlink(missing_ok=True)
    command = [sys.executable, "-m", "twin.simulate", "--folder", str(SIMULATION)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not summary.exists():
        raise RuntimeError(f"the simulation failed: {ended.stdout[-1000:]}{ended.stderr[-1000:]}")
    found = json.loads(summary.read_text())
    bars = [Bar("simulated_rates_agree", found["rates_agreeing"], 1, "higher")]
    write("simulation", bars, found["versions"])
    return bars
