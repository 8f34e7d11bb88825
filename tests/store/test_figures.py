"""Figures of a list: read once in two seconds, and what this process wrote is seen at once."""

from chalicelib.domain.service import Observation
from chalicelib.domain.words import now
from chalicelib.store.figures import Figures
from tests.emulator import Panel
from tests.read_units import metered


def test_figures_cost_half_a_unit_each_and_nothing_when_asked_for_again(panel: Panel) -> None:
    meter = metered(panel)
    figures = Figures(panel.table)
    Figures(panel.table).keep("host_a", {f"svc_{n}": Observation(measured_at=now()) for n in range(20)})
    pairs = [("host_a", f"svc_{n}") for n in range(30)]

    first, spent = figures.recent(pairs), meter.spent()
    again, spent_again = figures.recent(pairs), meter.spent()

    assert first == again
    assert len(first) == 20
    assert (spent, spent_again) == (15, 0)


def test_what_was_just_measured_is_seen_though_the_old_was_remembered(panel: Panel) -> None:
    figures = Figures(panel.table)
    assert figures.recent([("host_a", "svc_a")]) == {}

    seen = Observation(measured_at=now(), cpu_usage_millis=7)
    figures.keep("host_a", {"svc_a": seen})

    assert figures.recent([("host_a", "svc_a")]) == {"svc_a": seen}
