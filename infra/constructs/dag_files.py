"""What Airflow reads: DAGs, the code that their tasks import, and where everything is."""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from aws_cdk import Duration, IgnoreMode, aws_iam, aws_kms, aws_s3, aws_s3_deployment, custom_resources
from constructs import Construct

from infra.config import Config
from infra.constructs.bucket_files import BucketFiles
from infra.constructs.log_group import LogGroup
from infra.constructs.wildcard import accept_wildcards, objects

PROJECT: Final = Path(__file__).parents[2]
FOLDER: Final = "dags"
"""In the project and in the bucket."""
DEPLOYMENT: Final = "deployment.json"
TRAINING_JOB: Final = "training_job.json"
"""Beside it, but put there by the stack that trains: each change of the training is another image, and
CloudFormation forbids that one stack tells another what changes."""
REQUIREMENTS: Final = PROJECT / FOLDER / "requirements.txt"
CONSTRAINTS: Final = PROJECT / FOLDER / "constraints.txt"

PACKAGES: Final = ("contract", "lambdas", "training")
CERTIFICATES: Final = "lambdas/rds_ca.pem"


class DagFiles(Construct):
    """DAGs and what they need, in the DAG bucket, but for what a training is."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        bucket: aws_s3.IBucket,
        key: aws_kms.IKey,
        deployment: Mapping[str, Any],
    ) -> None:
        """`deployment` is what DAGs find in `deployment.json`."""
        super().__init__(scope, construct_id)
        self._deploy(config, bucket, deployment)
        self.requirements_key = requirements_key(REQUIREMENTS)
        """Where the requirements are: another content is another object, so that going back is possible."""
        self.requirements_version = self._put_requirements(config, bucket, key)
        """The version of that object, which MWAA is told, because it takes no notice of a changed one."""

    def _deploy(self, config: Config, bucket: aws_s3.IBucket, document: Mapping[str, Any]) -> None:
        caches = "**/__pycache__"
        BucketFiles(
            self,
            "Deployed",
            config=config,
            bucket=bucket,
            folder=FOLDER,
            sources=[
                aws_s3_deployment.Source.asset(
                    str(PROJECT / FOLDER), exclude=[caches, "README.md", REQUIREMENTS.name, CONSTRAINTS.name]
                ),
                # In Docker's mode folders that can't hold what is wanted, as .venv, are never entered.
                aws_s3_deployment.Source.asset(
                    str(PROJECT),
                    exclude=["*", *(f"!{path}" for path in imported_files()), caches],
                    ignore_mode=IgnoreMode.DOCKER,
                ),
                # What only an account knows comes with its quotes, and these would be escaped. It is said all
                # the same: else one list would be too short for the CDK's function.
                aws_s3_deployment.Source.json_data(DEPLOYMENT, document, escape=False),
            ],
            # What is gone from the project is gone from Airflow.
            prune=True,
            leave=[TRAINING_JOB],
        )

    def _put_requirements(self, config: Config, bucket: aws_s3.IBucket, key: aws_kms.IKey) -> str:
        written = objects(bucket, "requirements/")
        put = custom_resources.AwsSdkCall(
            service="S3",
            action="putObject",
            parameters={
                "Bucket": bucket.bucket_name,
                "Key": self.requirements_key,
                "Body": REQUIREMENTS.read_text(),
            },
            physical_resource_id=custom_resources.PhysicalResourceId.of(self.requirements_key),
            output_paths=["VersionId"],
        )
        resource = custom_resources.AwsCustomResource(
            self,
            "Requirements",
            on_update=put,
            policy=custom_resources.AwsCustomResourcePolicy.from_statements(
                [
                    aws_iam.PolicyStatement(actions=["s3:PutObject"], resources=written),
                    aws_iam.PolicyStatement(actions=["kms:GenerateDataKey"], resources=[key.key_arn]),
                ]
            ),
            install_latest_aws_sdk=False,
            timeout=Duration.minutes(1),
            log_group=LogGroup(self, "RequirementsLogs", config=config),
        )
        accept_wildcards(self, "Each content of the requirements is an object of its own.", resources=written)
        return resource.get_response_field("VersionId")


def requirements_key(file: Path) -> str:
    """Where requirements of this content are, in the bucket."""
    return f"requirements/{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}.txt"


def imported_files() -> list[str]:
    """The project's files that tasks import or read, `contract/` whole; paths in the project."""
    modules = _files_of(imported_modules())
    # The templates of pages lie beside the code that fills them.
    pages = {page for folder in {path.parent for path in modules} for page in folder.glob("*.html")}
    paths = {path.relative_to(PROJECT).as_posix() for path in modules | pages}
    return sorted({"contract", CERTIFICATES, *paths})


def imported_modules() -> list[str]:
    """What DAGs and their tasks import themselves of the project's packages."""
    files = (PROJECT / FOLDER).rglob("*.py")
    names = {name for file in files for name in _imports(file)}
    return sorted(name for name in names if _file_of(name) is not None)


def _files_of(modules: Iterable[str]) -> set[Path]:
    """The files of modules, and of all of the project that these import, wherever they do it."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or path in found:
            continue
        found.add(path)
        package = name.rpartition(".")[0]
        waiting += [package, *_imports(path)]
    return found


def _file_of(module: str) -> Path | None:
    """Where a module of the project is; None for a library's, and for a name that is none of a module."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    path = PROJECT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def _imports(file: Path) -> Iterator[str]:
    """What a file may import; of `from a import b` both `a` and `a.b`, for `b` may be a module."""
    for node in ast.walk(_as_imported(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _as_imported(module: ast.Module) -> ast.Module:
    """Without what only a type checker reads, and what only a program does."""
    unread = ("TYPE_CHECKING", "__name__ == '__main__'")
    module.body = [
        node for node in module.body if not (isinstance(node, ast.If) and ast.unparse(node.test) in unread)
    ]
    return module
