"""Whether what was pushed is what the contract says."""

from collections.abc import Container

from prometheus_client.parser import text_string_to_metric_families

from contract.metrics import METRICS


def require_contract(text: str, *, group: Container[str] = ()) -> set[str]:
    """Names of the families in what was pushed; each is in the list, with its type, labels and their values.

    `group` are labels of the pushgateway's group, which are nobody's business here.
    """
    known = {metric.name: metric for metric in METRICS}
    names = set()
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        metric = known[name]
        assert (metric.type, metric.help) == (family.type, family.documentation)
        allowed = {label.name: label.values for label in metric.labels}
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key not in group and key != "le"}
            assert labels.keys() == allowed.keys(), sample
            for key, value in labels.items():
                assert not allowed[key] or value in allowed[key], sample
        names.add(name)
    return names
