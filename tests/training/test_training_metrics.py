"""What a training leaves on the pushgateway."""

from contract.gate import Outcome
from contract.metrics import LOAD_LISTS, METRICS, QUALITY_METRICS, TRAINING_GATE_OUTCOME, TRAINING_QUALITY
from contract.recommendations import ListKind
from tests.lambdas.servers import fake_gateway
from tests.pushed_metrics import require_contract
from training.judged import PROTOCOLS
from training.ranking_metrics import METRICS as RANKING_METRICS
from training.rehearsal import REPORTED_MODELS
from training.settings import Environment
from training.steps import Steps, peak_mb
from training.train import push

EVALUATION = {
    "batch": {"served": {"users": 9.0, "precision@10": 0.2, "recall@10": 0.4}, "popular": {"users": 9.0}},
    "session": {"served": {"users": 7.0, "precision@10": 0.3, "recall@10": 0.5}},
}


def test_a_training_pushes_steps_memory_rows_quality_and_its_run() -> None:
    steps = Steps(seconds={"read": 1.5, "evaluate": 20.0, "publish": 3.0})
    with fake_gateway() as gateway:
        push(
            Environment(
                recommendations_uri="s3://nowhere",
                mlflow_tracking_uri="http://nowhere",
                pushgateway_url=gateway.url,
            ),
            steps,
            EVALUATION,
            counts={"events": 1000, "users": 100, "items": 10},
            version="20260131T000000Z-abc",
            mlflow_run="abcdef",
        )
    (pushed,) = gateway.pushes
    assert require_contract(pushed.text) == {
        metric.name
        for metric in METRICS
        if metric.name.startswith("shop_training_") and not metric.name.startswith("shop_training_gate_")
    }
    values = pushed.values
    assert values["shop_training_events",] == 1000
    assert values["shop_training_users",] == 100
    assert values["shop_training_items",] == 10
    assert values["shop_training_run", "abcdef", "20260131T000000Z-abc"] == 1
    assert 0 < values["shop_training_peak_memory_bytes",] <= peak_mb() * 2**20
    assert values["shop_training_step_duration_seconds", "evaluate"] == 20
    assert values["shop_training_quality", "recall@10", "served", "session"] == 0.5


def test_labels_have_the_values_that_trainings_push() -> None:
    values = {
        (metric.name, label.name): set(label.values)
        for metric in (TRAINING_QUALITY, TRAINING_GATE_OUTCOME, LOAD_LISTS)
        for label in metric.labels
    }
    quality = TRAINING_QUALITY.name
    assert values[quality, "model"] == set(REPORTED_MODELS)
    assert values[quality, "protocol"] == set(PROTOCOLS)
    assert set(QUALITY_METRICS) >= set(RANKING_METRICS)
    assert values[TRAINING_GATE_OUTCOME.name, "outcome"] == set(Outcome)
    assert values[LOAD_LISTS.name, "kind"] == set(ListKind)
