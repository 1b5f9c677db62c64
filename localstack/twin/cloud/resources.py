"""How honest the local cloud is: what of it is real, emulated, or a name in the place of something."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from twin.cloud.deployment import Resource

Honesty = Literal["real", "emulated", "placeholder"]

REAL: Final = frozenset(
    {
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "Custom::AWS",
        "Custom::CDKBucketDeployment",
        "Custom::S3AutoDeleteObjects",
        "Custom::Trigger",
    }
)
"""Code that runs as on AWS: functions under AWS's runtime client, and what they make."""


def honesty(resource: Resource) -> Honesty:
    """What a resource is here; what is a placeholder LocalStack itself says."""
    if resource.is_placeholder:
        return "placeholder"
    return "real" if resource.kind in REAL else "emulated"


def counted(resources: Iterable[Resource]) -> Mapping[Honesty, Mapping[str, int]]:
    """How many there are, by honesty and kind."""
    found = Counter((honesty(resource), resource.kind) for resource in resources)
    return {
        each: {kind: count for (is_, kind), count in sorted(found.items()) if is_ == each}
        for each in ("real", "emulated", "placeholder")
    }
