"""The bill adds up and grows with what is used."""

from infra.cost import Use, bill
from tests.architecture.test_templates import template


def total(services: int, **options: bool) -> float:
    return sum(line.dollars for line in bill(Use(services), **options))


def test_more_services_cost_more_and_each_of_them_less() -> None:
    assert total(10) < total(100) < total(1000)
    assert total(10) / 10 > total(100) / 100 > total(1000) / 1000


def test_network_and_edge_are_left_out_where_there_is_none() -> None:
    assert {line.what for line in bill(Use(10), network=False, edge=False)}.isdisjoint({"network", "edge"})


def test_the_alarms_on_the_bill_are_those_of_the_template() -> None:
    declared = [
        each["Properties"]
        for each in template("resources")["Resources"].values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    ]
    figures = sum(
        len([each for each in alarm.get("Metrics", [{"MetricStat": {}}]) if "MetricStat" in each]) for alarm in declared
    )

    (line,) = [line for line in bill(Use(10)) if line.what == "alarms"]
    assert line.how.startswith(f"{len(declared)} alarms on {figures} figures")
