"""The catalogue: each template plans cleanly, leads to its port, keeps its data, and the real Compose agrees."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from chalicelib.api.templates import CreateTemplate
from chalicelib.domain.compose import Defaults, Plan, judge
from chalicelib.domain.template import Called, Template
from chalicelib.domain.template_check import check
from chalicelib.store.templates import _SHIPPED, TemplateStore, _shipped
from tests.emulator import Panel

from .conftest import Planned, Resolved

WANTED = (
    "uptime-kuma", "n8n", "gitea", "postgres", "redis", "wordpress", "vaultwarden", "grafana", "static-site",
)  # fmt: skip
CATALOGUE = _shipped()
HERE = Called(name="my-app", host_name="my-app.example.com", url="https://my-app.example.com")
IMAGE = re.compile(r"[a-z0-9./_-]+:v?\d+[A-Za-z0-9._-]*")
# Keep nothing of their own, or keep it in the service's variables.
WITHOUT_VOLUMES = {"static-site"}


@pytest.fixture(params=sorted(CATALOGUE))
def template(request: pytest.FixtureRequest) -> Template:
    return CATALOGUE[request.param]


def minimal(template: Template) -> dict[str, str]:
    """What must be given, and nothing else."""
    required = {variable.name: "canary-Passw0rd" for variable in template.variables if variable.required}
    return template.values(required, HERE)


def plan_of(template: Template, planned: Planned) -> Plan:
    expose = (template.expose.service, template.expose.port) if template.expose else None
    return planned(template.compose, minimal(template), expose=expose)


def written(template: Template) -> dict[str, Any]:
    text: dict[str, Any] = yaml.safe_load(template.compose)
    return text


def test_it_has_what_people_want() -> None:
    assert CATALOGUE.keys() >= set(WANTED)


def test_each_file_is_named_as_its_template() -> None:
    assert {path.stem for path in _SHIPPED.iterdir()} == CATALOGUE.keys()


def test_a_template_would_be_taken_from_anyone(template: Template) -> None:
    """Strictly: no field that is unknown, none of another type, nothing that the check of a new one refuses."""
    file = yaml.safe_load((_SHIPPED / f"{template.id}.yaml").read_text())

    assert CreateTemplate.model_validate(file).to_template() == template
    check(template, Defaults(1, 6, 128))


def test_a_template_plans_without_a_warning_and_leads_to_its_port(template: Template, planned: Planned) -> None:
    plan = plan_of(template, planned)

    assert {warning.rule for warning in plan.warnings} <= {"port-not-published"}
    assert not plan.warnings or template.category == "databases"
    if template.expose:
        assert plan.routed
        assert (plan.routed.service, plan.routed.port) == (template.expose.service, template.expose.port)
        assert str(template.expose.port) in plan.document["services"][template.expose.service]["expose"]
    else:
        assert plan.routed is None


def test_a_template_without_a_url_says_how_it_is_reached(template: Template, planned: Planned) -> None:
    if template.expose:
        return
    assert "no URL" in template.description
    assert "HOST_PORT" in template.description
    secrets = dict.fromkeys(template.secret_names, "canary-Passw0rd")

    plan = planned(template.compose, template.values({**secrets, "HOST_PORT": "15432"}, HERE), publish_ports=True)

    assert [port.port for port in plan.published] == [15432]
    assert plan.warnings == ()


def test_each_image_is_named_with_a_version(template: Template, planned: Planned) -> None:
    for image in plan_of(template, planned).images:
        assert IMAGE.fullmatch(image), image


def test_each_service_has_limits_and_a_health_check(template: Template) -> None:
    for service in written(template)["services"].values():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        health = service["healthcheck"]
        assert "test" in health or "The test is the image's own" in template.compose
        assert {"interval", "timeout", "start_period", "retries"} <= health.keys()
    assert template.healthcheck or template.expose is None


def test_data_outlives_the_container(template: Template) -> None:
    text = written(template)
    mounted = {
        volume.partition(":")[0] for service in text["services"].values() for volume in service.get("volumes", ())
    }

    assert mounted == set(text.get("volumes", {}))
    assert mounted or template.id in WITHOUT_VOLUMES


def test_each_template_says_what_it_is_and_each_variable_what_it_means(template: Template) -> None:
    assert template.description
    assert template.tags
    assert template.category in ("ai", "databases", "devtools", "webapps")
    assert template.min_resources.memory_mb >= 64
    for variable in template.variables:
        assert variable.label
        assert variable.type != "secret" or variable.default is None


def test_secrets_stand_nowhere_but_where_containers_are_given_them(template: Template, planned: Planned) -> None:
    """Not on a command line, which everyone on the host can read."""
    values = minimal(template)
    canaries = {name: f"canary{index}Passw0rd" for index, name in enumerate(template.secret_names)}
    expose = (template.expose.service, template.expose.port) if template.expose else None
    plan = planned(template.compose, {**values, **canaries}, expose=expose)

    for service in plan.document["services"].values():
        shown = json.dumps([service.get(key) for key in ("command", "entrypoint", "healthcheck", "labels")])
        assert not [canary for canary in canaries.values() if canary in shown]


def test_the_real_compose_resolves_each_template_to_what_was_planned(compose: Resolved, planned: Planned) -> None:
    plans = {name: plan_of(template, planned) for name, template in CATALOGUE.items()}

    with ThreadPoolExecutor(2) as pool:
        resolved = dict(
            zip(plans, pool.map(lambda plan: compose(json.dumps(plan.document)), plans.values()), strict=True)
        )

    assert {name: judge(resolved[name], plan.document) for name, plan in plans.items()} == {name: [] for name in plans}


def test_the_store_lists_the_catalogue(panel: Panel) -> None:
    store: TemplateStore = panel.templates

    assert [template.id for template in store.all()] == sorted(CATALOGUE)
    assert store.get("postgres") == CATALOGUE["postgres"]
