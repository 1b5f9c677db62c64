"""Keys in S3, and that the contract needs nothing but the standard library."""

import subprocess
import sys
from pathlib import Path

from contract import s3_layout

ROOT = Path(__file__).parents[2]


def test_each_key_lies_under_its_prefix() -> None:
    assert s3_layout.events_key("2026-01-31", "import-1") == "events/dt=2026-01-31/import-1.parquet"
    assert s3_layout.events_manifest_key("import-1") == "events/manifests/import-1.json"
    assert s3_layout.rejected_key("import-1") == "rejected/import-1.parquet"
    assert s3_layout.manifest_key("v1") == "recommendations/v1/manifest.json"
    assert (
        s3_layout.version_prefix("v1") + s3_layout.lists_name(7) == "recommendations/v1/lists-00007.parquet"
    )


def test_no_two_kinds_of_key_share_a_prefix() -> None:
    prefixes = [s3_layout.events_partition("2026-01-31"), s3_layout.EVENTS_MANIFESTS_PREFIX]
    prefixes += [s3_layout.REJECTED_PREFIX, s3_layout.RECOMMENDATIONS_PREFIX]
    assert not [
        (one, other) for one in prefixes for other in prefixes if one != other and one.startswith(other)
    ]


def test_parts_of_a_version_sort_as_they_are_numbered() -> None:
    names = [s3_layout.lists_name(part) for part in (9, 10, 99_999)]
    assert names == sorted(names)


def test_the_contract_needs_no_other_package() -> None:
    modules = sorted(
        f"contract.{file.stem}" for file in (ROOT / "contract").glob("*.py") if file.stem != "__init__"
    )
    # -S leaves out site-packages.
    ended = subprocess.run(
        [sys.executable, "-S", "-c", f"import {', '.join(modules)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "contract.blending" in modules
