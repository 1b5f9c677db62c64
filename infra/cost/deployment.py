"""What is deployed: the resources of all templates of a stage."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Template = Mapping[str, Any]


@dataclass(frozen=True)
class Resource:
    """One resource of a template."""

    stack: str
    name: str
    """Its logical id."""
    kind: str
    """Such as `AWS::S3::Bucket`."""
    properties: Mapping[str, Any]

    def number(self, name: str, default: float = 0) -> float:
        """A property that is a number, which templates may write as text."""
        return float(self.properties.get(name, default))

    def mentions(self, other: "Resource") -> bool:
        """Whether it refers to another resource of its stack."""
        return self.stack == other.stack and other.name in _references(self.properties)


class Deployment:
    """All resources of a stage."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        """`templates` by stack."""
        self.resources: Final = tuple(
            Resource(stack, name, resource["Type"], resource.get("Properties", {}))
            for stack, template in sorted(templates.items())
            for name, resource in template.get("Resources", {}).items()
        )

    def of_kind(self, *kinds: str, stack: str | None = None) -> list[Resource]:
        """The resources of some kinds, of one stack or of all."""
        return [each for each in self.resources if each.kind in kinds and stack in (None, each.stack)]

    def referring_to(self, resource: Resource, *kinds: str) -> list[Resource]:
        """The resources of some kinds that mention this one."""
        return [each for each in self.of_kind(*kinds, stack=resource.stack) if each.mentions(resource)]

    def referred_to_by(self, resource: Resource, *kinds: str) -> list[Resource]:
        """The resources of some kinds that this one mentions."""
        return [each for each in self.of_kind(*kinds, stack=resource.stack) if resource.mentions(each)]


def _references(value: Any) -> set[str]:
    """The logical ids that a value refers to."""
    return set(_walk(value))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Ref" and isinstance(inner, str):
                yield inner
            elif key == "Fn::GetAtt":
                yield inner.partition(".")[0] if isinstance(inner, str) else inner[0]
            else:
                yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
