"""botocore's own description of SageMaker's API, and what it refuses."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.session import Session


class RequestError(Exception):
    """The request is refused, as a ValidationException; the message says why."""


@functools.cache
def _operation(name: str) -> OperationModel:
    return Session().get_service_model("sagemaker").operation_model(name)


def output_of(operation: str) -> StructureShape:
    """The form of an operation's answer."""
    shape = _operation(operation).output_shape
    assert isinstance(shape, StructureShape)  # noqa: S101 - each of this API's is one
    return shape


def refuse_violations(operation: str, request: Any) -> None:
    """Raise RequestError for what the description has against a request, in the service's words.

    Clients look at types, at what is missing and at least sizes; patterns, greatest sizes and known values
    are left to the service.
    """
    shape = _operation(operation).input_shape
    assert shape is not None  # noqa: S101 - each of this API's has one
    if found := [*_violations(request, shape, "")]:
        errors = "error" if len(found) == 1 else "errors"
        raise RequestError(f"{len(found)} validation {errors} detected: {'; '.join(found)}")


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if (told := _constraint(value, shape)) is not None:
        yield _failed(f"'{value}'", path, told)
    elif isinstance(shape, StructureShape):
        for name in shape.required_members:
            if name not in value:
                yield _failed("null", _join(path, name), "not be null")
        for name in value.keys() & shape.members.keys():
            yield from _violations(value[name], shape.members[name], _join(path, name))
    elif isinstance(shape, ListShape):
        for number, each in enumerate(value, start=1):
            yield from _violations(each, shape.member, f"{path}.{number}.member")
    elif isinstance(shape, MapShape):
        for name, each in value.items():
            yield from _violations(name, shape.key, path)
            yield from _violations(each, shape.value, f"{path}.{name}.member")


def _failed(value: str, path: str, constraint: str) -> str:
    return f"Value {value} at '{path}' failed to satisfy constraint: Member must {constraint}"


def _join(path: str, name: str) -> str:
    small = name[0].lower() + name[1:]
    return f"{path}.{small}" if path else small


def _constraint(value: Any, shape: Shape) -> str | None:
    """What `value` itself, not what is in it, has to do and doesn't."""
    rules = shape.metadata
    if rules.get("enum") and value not in rules["enum"]:
        return f"satisfy enum value set: [{', '.join(rules['enum'])}]"
    is_number = isinstance(value, int | float)
    size = value if is_number else len(value) if shape.type_name in ("string", "list", "map") else None
    what = "value" if is_number else "length"
    if size is not None and size < rules.get("min", size):
        return f"have {what} greater than or equal to {rules['min']}"
    if size is not None and size > rules.get("max", size):
        return f"have {what} less than or equal to {rules['max']}"
    if "pattern" in rules and not _compiled(rules["pattern"]).fullmatch(value):
        return f"satisfy regular expression pattern: {rules['pattern']}"
    return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Java's names of classes of characters, as far as they occur in this API, in Python's."""
    for java, python in {
        r"\p{L}": r"\w",
        r"\p{Z}": r"\s",
        r"\p{N}": r"\d",
        r"\p{Alnum}": "a-zA-Z0-9",
    }.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)
