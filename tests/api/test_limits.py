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


OWN = (
    "services: {app: {image: 'x:1', mem_limit: 64M}, db: {image: 'y:1', deploy: {resources: {limits: {memory: 64M}}}}}"
)


def test_a_limit_that_no_container_takes_is_warned_of(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    limits = {"cpu": 0.5, "memory_mb": 32}

    own = api.post("/services?dry_run=true", {**wanted, "compose": OWN, "limits": limits}).body
    some = api.post(
        "/services?dry_run=true", {**wanted, "compose": OWN.replace("mem_limit: 64M", ""), "limits": limits}
    )

    assert own["limits"] == {"cpu": 1.0, "memory_mb": 128}
    assert [(warning["path"], warning["rule"]) for warning in own["warnings"]] == [("limits.memory_mb", "not-applied")]
    assert (some.body["limits"], some.body["warnings"]) == ({"cpu": 1.0, "memory_mb": 96}, [])


def a_template(api: Api, wanted: dict[str, Any], compose: str, **least: Any) -> dict[str, Any]:
    """The body of a create from a template of this text that needs so much."""
    made = api.post("/templates", {"id": "small", "name": "Small", "compose": compose, "min_resources": least})
    assert made.status == 201, made.text
    rest = {name: value for name, value in wanted.items() if name != "compose"}
    return {**rest, "deploy_method": "template", "template_id": "small"}


@pytest.mark.parametrize(
    "compose", ["services: {app: {image: 'x:1', mem_limit: 64M}}", "services: {app: {image: 'x:1'}}"]
)
def test_a_limit_below_what_the_template_needs_is_refused(
    api: Api, panel: Panel, wanted: dict[str, Any], compose: str
) -> None:
    body = a_template(api, wanted, compose, cpu=0.1, memory_mb=64)
    service_id = deployed(api, panel, body)
    before = panel.services.get(service_id).version

    replies = [
        api.post("/services", {**body, "name": "other", "limits": {"memory_mb": 8}}),
        api.patch(f"/services/{service_id}", {"limits": {"memory_mb": 8}}),
        api.patch(f"/services/{service_id}", {"limits": {"cpu": 0.05}}),
    ]

    assert [reply.status for reply in replies] == [422] * 3
    paths = [reply.error["details"][0]["path"] for reply in replies]
    assert paths == ["limits.memory_mb", "limits.memory_mb", "limits.cpu"]
    assert replies[0].error["message"] == "the template needs 64 MB of memory, and this would come to 8"
    assert panel.services.get(service_id).version == before


def test_a_templates_containers_with_limits_of_their_own_keep_them(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    body = a_template(api, wanted, "services: {app: {image: 'x:1', mem_limit: 64M}}")
    service_id = deployed(api, panel, body)

    plan = api.patch(f"/services/{service_id}?dry_run=true", {"limits": {"cpu": 0.5, "memory_mb": 128}}).body

    assert plan["limits"] == {"cpu": 0.5, "memory_mb": 64}
    assert [warning["path"] for warning in plan["warnings"]] == ["limits.memory_mb"]
