"""Alarms: one for each thing that needs a person, each with what to do."""

import json

import pytest

from contract import metrics
from infra.alarms import PARTITIONS
from infra.config import STAGES
from tests.infra.conftest import Templates, resources

EVERYWHERE = {
    "api-errors",
    "api-latency",
    "event-partitions",
    *(
        f"{function}-{what}"
        for function in ("read", "write", "housekeeping", "migrate-database")
        for what in ("errors", "throttles", "duration")
    ),
}
OF_THE_DATABASE = {"database-storage", "database-cpu", "database-connections", "database-memory"}
EXPECTED = {
    "dev": EVERYWHERE | OF_THE_DATABASE,
    "prod": EVERYWHERE | OF_THE_DATABASE | {"airflow-scheduler"},
    "local": EVERYWHERE | {"airflow-scheduler"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_there_is_an_alarm_for_each_thing_that_prometheus_cannot_see(
    templates: Templates, stage: str
) -> None:
    alarms = resources(templates[stage]["alarms"], "AWS::CloudWatch::Alarm").values()
    names = {alarm["Properties"]["AlarmName"].removeprefix(f"shop-{stage}-") for alarm in alarms}
    assert names == EXPECTED[stage]


def test_each_alarm_rings_says_what_to_do_and_when_it_is_over(templates: Templates) -> None:
    for alarm in resources(templates["prod"]["alarms"], "AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        assert properties["AlarmActions"] == properties["OKActions"]
        assert len(properties["AlarmActions"]) == 1
        assert len(properties["AlarmDescription"].split()) > 8


def test_silence_rings_where_it_is_as_bad_as_a_wrong_figure(templates: Templates) -> None:
    breaching = {
        alarm["Properties"]["AlarmName"]
        for alarm in resources(templates["prod"]["alarms"], "AWS::CloudWatch::Alarm").values()
        if alarm["Properties"]["TreatMissingData"] == "breaching"
    }
    assert breaching == {"shop-prod-event-partitions", "shop-prod-airflow-scheduler"}


def test_the_alarm_of_partitions_reads_what_housekeeping_logs(templates: Templates) -> None:
    assert metrics.HOUSEKEEPING_PARTITIONS_AHEAD.name == PARTITIONS
    (filtered,) = resources(templates["dev"]["alarms"], "AWS::Logs::MetricFilter").values()
    (transformation,) = filtered["Properties"]["MetricTransformations"]
    assert transformation["MetricValue"] == f"$.measures.{PARTITIONS}"
    assert filtered["Properties"]["FilterPattern"] == f"{{ $.measures.{PARTITIONS} = * }}"


def test_a_failed_training_of_this_deployment_is_told_and_nobody_elses(templates: Templates) -> None:
    (rule,) = [
        rule["Properties"]
        for rule in resources(templates["prod"]["alarms"], "AWS::Events::Rule").values()
        if rule["Properties"]["EventPattern"]["source"] == ["aws.sagemaker"]
    ]
    assert rule["EventPattern"]["detail"] == {
        "TrainingJobName": [{"prefix": "shop-prod-"}],
        "TrainingJobStatus": ["Failed", "Stopped"],
    }


def test_only_the_services_that_tell_of_alarms_may_publish_and_use_the_key(templates: Templates) -> None:
    template = templates["prod"]["data"]
    (policy,) = resources(template, "AWS::SNS::TopicPolicy").values()
    allowed: set[str] = set()
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        if statement["Effect"] == "Allow":
            services = statement["Principal"]["Service"]
            allowed.update([services] if isinstance(services, str) else services)
    assert allowed == {f"{name}.amazonaws.com" for name in ("cloudwatch", "events", "budgets")}
    (topic,) = resources(template, "AWS::SNS::Topic").values()
    assert "KmsMasterKeyId" in topic["Properties"]
    assert "aws:SourceAccount" in json.dumps(policy)
