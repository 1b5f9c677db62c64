"""The CDK app: what a platform team deploys to its own account."""

import os
import sys
from pathlib import Path

# The libraries' other half runs on Node: the one of this environment, so that nobody needs one of their own.
_NODE = Path(sys.executable).with_name("node")
if _NODE.is_file():
    os.environ.setdefault("JSII_NODE", str(_NODE))
