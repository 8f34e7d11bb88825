"""The bill adds up and grows with what is used."""

import re

import app
from infra.cost import Use, bill
from infra.deploy.stages import PROJECT
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


def test_who_watches_logs_has_agents_send_more() -> None:
    quiet, watched = Use(10, minutes_watched_per_service=0), Use(10)

    for what in ("API Gateway", "Lambda", "edge"):
        (before,) = [line.dollars for line in bill(quiet) if line.what == what]
        (after,) = [line.dollars for line in bill(watched) if line.what == what]
        assert after > before


def test_every_function_that_the_clock_runs_is_counted() -> None:
    scheduled = [each for each in app.app.event_sources if hasattr(each, "schedule_expression")]
    (line,) = [line for line in bill(Use(0, deploys_per_service=0)) if line.what == "Lambda"]

    clock = int(re.search(r"clock ([\d,]+)", line.how)[1].replace(",", ""))  # type: ignore[index]
    assert clock == len(scheduled) * 730 * 60 * 0.2 * 0.25


def test_the_bill_in_the_manual_is_the_one_that_is_printed() -> None:
    section = (PROJECT / "docs/operations.md").read_text().partition("\n### What it costs\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", section, re.MULTILINE)

    assert rows
    for row in rows:
        services, hosts, together, network, edge = (int(each.replace(",", "")) for each in row)
        lines = {line.what: line.dollars for line in bill(Use(services))}
        assert hosts == Use(services).hosts
        assert [together, network, edge] == [round(sum(lines.values())), round(lines["network"]), round(lines["edge"])]
