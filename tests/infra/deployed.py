"""What a stack's template comes to in an account, with made-up values for what only an account knows."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.infra.conftest import Template, resources

ACCOUNT = "123456789012"
REGION = "eu-central-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}


def value(expression: Any) -> Any:
    """What CloudFormation makes of an expression; the same attribute has the same value everywhere."""
    if isinstance(expression, list):
        return [value(each) for each in expression]
    if not isinstance(expression, Mapping):
        return expression
    functions = [function for function in expression if function in _FUNCTIONS]
    if functions:
        return _FUNCTIONS[functions[0]](expression[functions[0]])
    return {name: value(each) for name, each in expression.items()}


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "Ref": lambda name: _PSEUDO.get(name) or _made_up(name),
    "Fn::GetAtt": lambda path: _made_up("".join(path)),
    "Fn::ImportValue": lambda name: _made_up(re.sub(r".*:ExportsOutput(Ref|FnGetAtt)|.{8}$", "", name)),
    "Fn::Join": lambda parts: parts[0].join(value(parts[1])),
    "Fn::Select": lambda choice: value(choice[1])[choice[0]],
    "Fn::Split": lambda text: value(text[1]).split(text[0]),
}


def _made_up(name: str) -> str:
    """Of an attribute, by its kind: `name` is a logical id and what is asked of it."""
    for kind, made in {
        r"Role.*Arn$": f"arn:aws:iam::{ACCOUNT}:role/{name}",
        r"Key.*Arn$": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}",
        r"Repository.*Arn$": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
        r"Alias": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:live",
        r"Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}",
        r"Arn$": f"arn:aws:s3:::{_short(name.removesuffix('Arn'))}",
        r"GroupId$": f"sg-{name}",
        r"[Ss]ubnet": f"subnet-{name}",
    }.items():
        if re.search(kind, name):
            return made
    return _short(name)


def _short(name: str) -> str:
    """A bucket's name is its construct's, here: the logical id without the digest."""
    return re.sub(r"[0-9A-F]{8}$", "", name).lower()


def deployed_files(folder: Path, template: Template, into: Path) -> Path:
    """The files that a stack's deployment puts into the DAG bucket's `dags/`, laid out in a folder.

    `folder` is the stage's, where the assets are.
    """
    (deployment,) = resources(template, "Custom::CDKBucketDeployment").values()
    properties = deployment["Properties"]
    assert properties["DestinationBucketKeyPrefix"] == "dags"
    # With escaping, the CDK's function would escape the quotes that the values come with.
    assert all(not each.get("jsonEscape") for each in properties.get("SourceMarkersConfig", ()))
    # CDK leaves the markers out where no source has any.
    markers = properties.get("SourceMarkers") or [{}] * len(properties["SourceObjectKeys"])
    for key, expressions in zip(properties["SourceObjectKeys"], markers, strict=True):
        asset = folder / f"asset.{key.removesuffix('.zip')}"
        shutil.copytree(asset, into, dirs_exist_ok=True)
        for file in asset.rglob("*") if expressions else ():
            text = file.read_text()
            for marker, expression in expressions.items():
                text = text.replace(marker, value(expression))
            (into / file.relative_to(asset)).write_text(text)
    return into


def read_document(folder: Path, template: Template, name: str, into: Path) -> dict[str, Any]:
    """A JSON document of those files."""
    document: dict[str, Any] = json.loads((deployed_files(folder, template, into) / name).read_text())
    return document


class Permissions:
    """What a role of a stack may do; conditions are for who asks to look at."""

    def __init__(self, template: Template, role: str) -> None:
        """`role` is how the role's logical id begins."""
        (self.name,) = [name for name in resources(template, "AWS::IAM::Role") if name.startswith(role)]
        self.role = template["Resources"][self.name]["Properties"]
        self.statements = [
            statement
            for policy in resources(template, "AWS::IAM::Policy").values()
            if {"Ref": self.name} in policy["Properties"]["Roles"]
            for statement in value(policy["Properties"]["PolicyDocument"]["Statement"])
        ]
        assert {statement["Effect"] for statement in self.statements} == {"Allow"}

    def allow(self, action: str, resource: str) -> bool:
        """Whether some statement does."""
        return bool(list(self.of(action, resource)))

    def of(self, action: str, resource: str) -> Iterator[dict[str, Any]]:
        """The statements that do."""
        for statement in self.statements:
            if any(fnmatchcase(action, each) for each in listed(statement["Action"])) and any(
                fnmatchcase(resource, each) for each in listed(statement["Resource"])
            ):
                yield statement

    def on_anything(self) -> set[str]:
        """The actions that are allowed on `*`."""
        return {
            action
            for statement in self.statements
            if "*" in listed(statement["Resource"])
            for action in listed(statement["Action"])
        }


def listed(value: Any) -> list[Any]:
    """Policies leave the list out where there is one."""
    return value if isinstance(value, list) else [value]
