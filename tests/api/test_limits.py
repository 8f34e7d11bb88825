"""A service's limits: what each container has whose author gave none."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel


@pytest.mark.parametrize(
    ("limits", "planned"),
    [
        ({"cpu": 0.9}, {"cpu": 0.9, "memory_mb": 64}),
        ({"memory_mb": 128}, {"cpu": 0.5, "memory_mb": 128}),
        ({"memory_mb": None}, {"cpu": 0.5, "memory_mb": 512}),
        ({"cpu": None}, {"cpu": 1.0, "memory_mb": 64}),
        ({}, {"cpu": 0.5, "memory_mb": 64}),
        (None, {"cpu": 1.0, "memory_mb": 512}),
    ],
)
def test_a_limit_that_is_named_is_changed_and_the_other_stays(
    api: Api, panel: Panel, wanted: dict[str, Any], limits: Any, planned: dict[str, Any]
) -> None:
    service_id = deployed(api, panel, wanted, limits={"cpu": 0.5, "memory_mb": 64})

    plan = api.patch(f"/services/{service_id}?dry_run=true", {"limits": limits}).body

    assert plan["limits"] == planned


@pytest.mark.parametrize("cpu", [0.0001, 0.0099])
def test_less_of_a_core_than_docker_gives_is_refused(
    api: Api, panel: Panel, wanted: dict[str, Any], cpu: float
) -> None:
    service_id = deployed(api, panel, wanted)

    replies = [
        api.post("/services", {**wanted, "name": "other", "limits": {"cpu": cpu}}),
        api.patch(f"/services/{service_id}", {"limits": {"cpu": cpu}}),
    ]

    assert [(reply.status, reply.error["details"][0]["path"]) for reply in replies] == [(422, "limits.cpu")] * 2
