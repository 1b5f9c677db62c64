"""Where stage `local` differs: what runs on this machine is found there."""

from pathlib import Path

from infra.archives import Archives
from infra.stage import synthesize
from tests.infra.conftest import read_templates, resources, stand_in


def test_locally_machines_find_the_servers_that_run_there(tmp_path: Path) -> None:
    urls = {f"{name}_url": f"http://127.0.0.1:900{n}" for n, name in enumerate(("mlflow", "pushgateway"))}
    synthesize({"stage": "local", **urls}, tmp_path / "cdk", Archives(tmp_path / "archives", make=stand_in))
    api = read_templates(tmp_path / "cdk", "local")["api"]
    (read,) = (
        each["Properties"]
        for each in resources(api, "AWS::Lambda::Function").values()
        if each["Properties"]["FunctionName"] == "shop-local-api-read"
    )
    assert read["Environment"]["Variables"]["PUSHGATEWAY_URL"] == urls["pushgateway_url"]
