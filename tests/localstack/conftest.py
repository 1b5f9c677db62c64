"""One local cloud a session: everything is started, deployed and seeded once, for all that ask for it."""

from collections.abc import Iterator

import pytest
from twin.cloud.deployment import CDK, Deployment, bootstrap, deploy
from twin.cloud.parts import Parts, running_parts
from twin.cloud.seed import seed
from twin.errors import MissingProgramError
from twin.localstack_installation import python
from twin.python313 import find_python313


@pytest.fixture(scope="session")
def installed() -> None:
    """LocalStack and the CDK's command line, which `make test` installs; skips where that can't be."""
    if not python().exists():
        try:
            find_python313()
        except MissingProgramError as error:
            pytest.skip(str(error))
        pytest.skip("LocalStack is not installed: `make localstack` does it")
    if not CDK.exists():
        pytest.skip("the CDK's command line is not installed: `make cdk` does it")


@pytest.fixture(scope="session")
def parts(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """LocalStack and what it lacks, up and empty."""
    folder = tmp_path_factory.mktemp("cloud")
    with running_parts(folder, port=None, tell=lambda _: None) as (parts, _):
        yield parts


@pytest.fixture(scope="session")
def deployment(parts: Parts) -> Deployment:
    """All stacks, deployed from nothing."""
    bootstrap(parts)
    deploy(parts)
    return Deployment.read(parts)


@pytest.fixture(scope="session")
def version(deployment: Deployment) -> str:
    """The version that is live: of a small shop, trained in the cloud."""
    return seed(deployment)
