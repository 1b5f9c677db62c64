"""What LocalStack's plugin does for functions and for CloudFormation's custom resources, seen through AWS's API."""

import io
import itertools
import json
import textwrap
import time
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from twin.cloud.clients import client
from twin.cloud.parts import Parts

ROLE = "arn:aws:iam::000000000000:role/any"

_numbers = itertools.count()


def archive(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            zipped.writestr(entry, textwrap.dedent(text))
    return packed.getvalue()


class Lambda:
    """Functions that are made for a test, and what they answer."""

    def __init__(self, endpoint: str, functions: Any) -> None:
        self.endpoint = endpoint
        self.client = functions

    def create(self, files: Mapping[str, str], **settings: Any) -> str:
        name = f"function-{next(_numbers)}"
        asked = {"Runtime": "python3.13", "Handler": "app.handler", "Timeout": 10, **settings}
        self.client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": archive(files)}, **asked)
        self.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        return name

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """The answer, and of what kind the error is, if it is one."""
        told = self.client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        return json.loads(told["Payload"].read()), told.get("FunctionError")

    def of(self, source: str, **settings: Any) -> str:
        return self.create({"app.py": source}, **settings)


@pytest.fixture
def functions(parts: Parts) -> Iterator[Lambda]:
    with client(parts.endpoint, "lambda") as opened:
        yield Lambda(parts.endpoint, opened)


def test_a_function_runs_under_the_python_that_it_asks_for(functions: Lambda) -> None:
    name = functions.of("import sys\ndef handler(event, context): return [event, list(sys.version_info[:2])]")
    assert functions.invoke(name, {"a": 1}) == ([{"a": 1}, [3, 13]], None)


def test_it_sees_its_variables_its_name_and_no_more_of_this_machine(
    functions: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import os
        def handler(event, context):
            return [dict(os.environ), context.function_name, context.function_version]
    """
    name = functions.of(source, Environment={"Variables": {"COLOUR": "blue"}}, MemorySize=200)
    (variables, told, version), _ = functions.invoke(name)
    assert (told, version) == (name, "$LATEST")
    expected = {
        "AWS_ENDPOINT_URL": functions.endpoint,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "200",
        "COLOUR": "blue",
    }
    assert expected.items() <= variables.items()
    assert "LAMBDA_RUNTIMES" not in variables


def test_a_handler_in_a_folder_and_a_client_of_aws_work(functions: Lambda) -> None:
    source = """
        import boto3
        def handler(event, context):
            return boto3.client("sts").get_caller_identity()["Account"]
    """
    name = functions.create({"inner/app.py": source}, Handler="inner.app.handler")
    assert functions.invoke(name) == ("000000000000", None)


def test_what_a_handler_raises_is_told(functions: Lambda) -> None:
    name = functions.of("def handler(event, context): raise ValueError('no such colour')")
    answer, error = functions.invoke(name)
    assert (answer["errorType"], answer["errorMessage"], error) == (
        "ValueError",
        "no such colour",
        "Unhandled",
    )


def test_what_fails_while_it_starts_is_told_each_time(functions: Lambda) -> None:
    name = functions.of("import there_is_no_such_module")
    for _ in range(2):
        answer, error = functions.invoke(name)
        assert (answer["errorType"], error) == ("Runtime.ImportModuleError", "Unhandled")


def test_after_a_time_out_the_next_one_answers(functions: Lambda) -> None:
    name = functions.of(
        "import time\ndef handler(event, context): time.sleep(event); return event", Timeout=1
    )
    answer, error = functions.invoke(name, 30)
    assert (answer["errorType"], error) == ("Sandbox.Timedout", "Unhandled")
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert functions.invoke(name, 0) == (0, None)


def test_after_a_crash_the_next_one_answers(functions: Lambda) -> None:
    name = functions.of("import os\ndef handler(event, context): os._exit(3) if event else None\n")
    answer, error = functions.invoke(name, 1)
    assert (answer["errorType"], error) == ("Runtime.ExitError", "Unhandled")
    assert functions.invoke(name, 0) == (None, None)


def test_more_memory_than_it_has_ends_it(functions: Lambda) -> None:
    source = "def handler(event, context): return len(b'x' * event)"
    name = functions.of(source, MemorySize=128)
    assert functions.invoke(name, 1 << 20) == (1 << 20, None)
    answer, _ = functions.invoke(name, 400 << 20)
    assert answer["errorType"] in {"Runtime.ExitError", "Runtime.OutOfMemory"}


def test_layers_lie_over_each_other_and_their_programs_start(functions: Lambda) -> None:
    layers = []
    for colour in ("red", "blue"):
        program = f"#!/var/lang/bin/python\nimport sys\nprint('{colour}', *sys.argv[1:])\n"
        files = {"python/paint.py": f"COLOUR = '{colour}'", f"python/{colour}.py": "", "tools/say": program}
        told = functions.client.publish_layer_version(LayerName=colour, Content={"ZipFile": archive(files)})
        layers.append(told["LayerVersionArn"])
    source = """
        import subprocess
        import blue, paint, red
        def handler(event, context):
            said = subprocess.check_output(["/opt/tools/say", "hello"], text=True)
            return [paint.COLOUR, said.strip()]
    """
    assert functions.invoke(functions.of(source, Layers=layers)) == (["blue", "blue hello"], None)


def test_a_function_of_node_runs_under_its_own_client(functions: Lambda) -> None:
    source = """
        const { S3Client, ListBucketsCommand } = require("@aws-sdk/client-s3");
        exports.handler = async (event) => {
          const told = await new S3Client({}).send(new ListBucketsCommand({}));
          if (event.fail) throw new RangeError("too far");
          return [event, Array.isArray(told.Buckets), process.version.split(".")[0]];
        };
    """
    name = functions.create(
        {"index.js": source}, Runtime="nodejs22.x", Handler="index.handler", MemorySize=256
    )
    (event, listed, version), error = functions.invoke(name, {"a": "ü"})
    assert (event, listed, error) == ({"a": "ü"}, True, None)
    assert version.startswith("v")
    answer, error = functions.invoke(name, {"fail": True})
    assert (answer["errorType"], answer["errorMessage"], error) == ("RangeError", "too far", "Unhandled")


def test_a_runtime_that_is_not_here_is_told_when_the_function_is_made(functions: Lambda) -> None:
    code = {"ZipFile": archive({"a": ""})}
    functions.client.create_function(
        FunctionName="java", Role=ROLE, Runtime="java21", Handler="a.A", Code=code
    )
    with pytest.raises(Exception, match="Waiter FunctionActiveV2 failed"):
        functions.client.get_waiter("function_active_v2").wait(
            FunctionName="java", WaiterConfig={"Delay": 0.1}
        )
    told = functions.client.get_function_configuration(FunctionName="java")
    assert (told["State"], told["StateReason"]) == (
        "Failed",
        "Error while creating lambda: java21 does not run here: Python and Node do",
    )


RESOURCE = """
    import json, urllib.request
    def handler(event, context):
        given = event["ResourceProperties"]
        print("asked:", json.dumps(event))
        answer = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
        answer["Status"] = "FAILED" if given.get("Fail") == "true" else "SUCCESS"
        answer["Reason"] = "it was asked to fail"
        answer["PhysicalResourceId"] = "of-" + given["Colour"]
        answer["Data"] = {"Told": f"{event['RequestType']} {given['Colour']} {given['Count']}"}
        if given["Colour"] != "silent":
            body = json.dumps(answer).encode()
            urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], body, method="PUT"))
"""


class Stack:
    """A stack of a topic and then a custom resource, and what its function was asked."""

    def __init__(self, functions: Lambda, cloudformation: Any, logs: Any) -> None:
        self.endpoint = functions.endpoint
        self.function = functions.of(RESOURCE)
        self.name = f"custom-{next(_numbers)}"
        self._arn = f"arn:aws:lambda:us-east-1:000000000000:function:{self.function}"
        self._cloudformation = cloudformation
        self._logs = logs

    def apply(self, kind: str, **properties: Any) -> Mapping[str, Any]:
        """Create or update it by a change set; what it is then."""
        template = {
            "Resources": {
                "Topic": {
                    "Type": "AWS::SNS::Topic",
                    "Properties": {"TopicName": self.name, "DisplayName": f"Count {properties['Count']}"},
                },
                "It": {
                    "Type": "Custom::It",
                    "Properties": {"ServiceToken": self._arn, **properties},
                    "DependsOn": "Topic",
                },
            },
            "Outputs": {
                "Told": {"Value": {"Fn::GetAtt": ["It", "Told"]}},
                "Id": {"Value": {"Ref": "It"}},
            },
        }
        change = self._cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=f"change-{next(_numbers)}",
            ChangeSetType=kind,
            TemplateBody=json.dumps(template),
        )
        waiting = {"Delay": 0.2, "MaxAttempts": 300}
        waiter = self._cloudformation.get_waiter("change_set_create_complete")
        waiter.wait(ChangeSetName=change["Id"], WaiterConfig=waiting)
        self._cloudformation.execute_change_set(ChangeSetName=change["Id"])
        waiter = self._cloudformation.get_waiter(f"stack_{kind.lower()}_complete")
        waiter.wait(StackName=self.name, WaiterConfig=waiting)
        (stack,) = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def delete(self) -> None:
        self._cloudformation.delete_stack(StackName=self.name)
        waiter = self._cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})

    def wait_for(self, status: str) -> None:
        deadline = time.monotonic() + 60
        while self._cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"] != status:
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.1)

    def topic(self) -> str:
        """What the topic is called."""
        with client(self.endpoint, "sns") as topics:
            arn = f"arn:aws:sns:us-east-1:000000000000:{self.name}"
            return str(topics.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"])

    def reasons(self) -> list[str]:
        told = self._cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
        return [event.get("ResourceStatusReason", "") for event in told]

    def asked(self) -> list[tuple[str, str | None]]:
        """Kind and physical id of every event, in their order."""
        group = f"/aws/lambda/{self.function}"
        messages = [event["message"] for event in self._logs.filter_log_events(logGroupName=group)["events"]]
        events = [json.loads(line.removeprefix("asked: ")) for line in messages if line.startswith("asked: ")]
        return [(event["RequestType"], event.get("PhysicalResourceId")) for event in events]


@pytest.fixture
def stack(functions: Lambda, parts: Parts) -> Iterator[Stack]:
    with client(parts.endpoint, "cloudformation") as cloudformation, client(parts.endpoint, "logs") as logs:
        yield Stack(functions, cloudformation, logs)


def test_a_custom_resource_is_made_changed_and_deleted_by_its_function(stack: Stack) -> None:
    assert stack.apply("CREATE", Colour="red", Count=1) == {"Told": "Create red 1", "Id": "of-red"}
    assert stack.apply("UPDATE", Colour="red", Count=2) == {"Told": "Update red 2", "Id": "of-red"}
    # Another physical id is another resource: the former one goes.
    assert stack.apply("UPDATE", Colour="blue", Count=2) == {"Told": "Update blue 2", "Id": "of-blue"}
    stack.delete()
    assert stack.asked() == [
        ("Create", None),
        ("Update", "of-red"),
        ("Update", "of-red"),
        ("Delete", "of-red"),
        ("Delete", "of-blue"),
    ]


def test_the_reason_of_a_custom_resource_that_fails_is_the_stacks(stack: Stack) -> None:
    with pytest.raises(Exception, match="StackCreateComplete failed"):
        stack.apply("CREATE", Colour="red", Count=1, Fail=True)
    assert "it was asked to fail" in stack.reasons()


def test_what_an_update_has_changed_until_it_failed_is_taken_back(stack: Stack) -> None:
    stack.apply("CREATE", Colour="red", Count=1)
    with pytest.raises(Exception, match="StackUpdateComplete failed"):
        stack.apply("UPDATE", Colour="red", Count=2, Fail=True)
    stack.wait_for("UPDATE_ROLLBACK_COMPLETE")
    assert stack.topic() == "Count 1"
    stack.apply("UPDATE", Colour="red", Count=3)
    assert stack.topic() == "Count 3"


def test_after_an_update_that_failed_the_same_one_is_tried_again(stack: Stack) -> None:
    stack.apply("CREATE", Colour="red", Count=1)
    with pytest.raises(Exception, match="StackUpdateComplete failed"):
        stack.apply("UPDATE", Colour="red", Count=2, Fail=True)
    stack.wait_for("UPDATE_ROLLBACK_COMPLETE")
    assert stack.apply("UPDATE", Colour="red", Count=2)["Told"] == "Update red 2"


def test_a_function_that_fails_fails_its_custom_resource_at_once(stack: Stack) -> None:
    with pytest.raises(Exception, match="StackCreateComplete failed"):
        stack.apply("CREATE", Count=1)
    assert "KeyError: 'Colour'" in stack.reasons()
