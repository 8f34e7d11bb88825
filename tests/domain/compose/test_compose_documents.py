"""Ordinary files: they are accepted, and the real Compose makes exactly our document of them."""

import copy
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.commands.kit import compose_text
from chalicelib.domain.compose import Plan, judge

from .conftest import SERVICE_ID, Planned, Resolved

ORDINARY = sorted(Path(__file__).with_name("ordinary").glob("*.yaml"))
VARIABLES = {
    "DB_PASSWORD": "pa$$word${x}", "TOKEN": "t", "POSTGRES_USER": "n8n", "REDIS_PASSWORD": "r", "DB_PASS": "d",
    "DB_USERNAME": "",
}  # fmt: skip


@pytest.mark.parametrize("file", ORDINARY, ids=lambda file: file.stem)
def test_an_ordinary_file_is_accepted(planned: Planned, file: Path) -> None:
    plan = planned(file.read_text(), VARIABLES)

    services = plan.document["services"].values()
    assert plan.published == ()
    assert all("ports" not in service for service in services)
    assert all(service["labels"]["slipway.service"] == SERVICE_ID for service in services)
    assert all(service["labels"]["slipway.release"] == "3" for service in services)
    assert all(service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"} for service in services)
    assert all(service["logging"]["options"].keys() == {"max-size", "max-file"} for service in services)


def test_enough_ordinary_files_are_tried() -> None:
    assert len(ORDINARY) >= 30


def test_the_real_compose_resolves_each_document_to_itself(compose: Resolved, planned: Planned) -> None:
    plans = {file.stem: planned(file.read_text(), VARIABLES, publish_ports=True) for file in ORDINARY}

    with ThreadPoolExecutor(2) as pool:
        resolved = dict(zip(plans, pool.map(_on_host(compose), plans.values()), strict=True))

    assert {name: judge(resolved[name], plan.document) for name, plan in plans.items()} == {name: [] for name in plans}


def _on_host(compose: Resolved) -> Callable[[Plan], dict[str, Any]]:
    """What the host's Compose makes of a document. It is given no variables: none may matter any more."""
    return lambda plan: compose(compose_text(plan.document))


# Of each kind that YAML has rules about: its own line breaks, what it takes escaped alone, half a character that is
# two, the ends of what there is.
STRANGE = (
    "😀 👩‍👩‍👧 \x85 \u2028 \u2029 \x7f \x80 \x9f \xa0 \xad \ufeff "
    "\ufffd \ufffe \uffff \U00010000 \U0001ffff \U0010ffff \b\f\x1f"
)


@pytest.mark.parametrize("character", STRANGE.split(" "), ids=ascii)
def test_the_real_compose_reads_every_character_as_it_was_given(
    compose: Resolved, planned: Planned, character: str
) -> None:
    value = f"a{character}b\\ud83d\\{character}"

    plan = planned("services: {web: {image: app, environment: [V], command: 'run ${V}'}}", {"V": value})
    resolved = compose(compose_text(plan.document))

    assert resolved["services"]["web"]["environment"] == {"V": value}
    assert json.loads(compose_text(plan.document)) == plan.document
    assert judge(resolved, plan.document) == []


@given(values=st.lists(st.text(st.sampled_from("$${}:-?+Aa \"'\\\n%"), max_size=12), min_size=40, max_size=60))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_a_value_reaches_the_container_as_it_was_given(compose: Resolved, planned: Planned, values: list[str]) -> None:
    variables = {f"V{index}": value for index, value in enumerate(values)}
    text = json.dumps({"services": {"web": {"image": "app", "environment": list(variables)}}})

    plan = planned(text, variables)
    resolved = compose(compose_text(plan.document), {"A": "wrong", "a": "wrong"})

    printed = resolved["services"]["web"]["environment"]
    assert {key: value.replace("$$", "$") for key, value in printed.items()} == variables
    assert judge(resolved, plan.document) == []


RICH = """
services:
  web:
    image: app
    command: run --fast
    ports: ["8080:80"]
    environment: {A: b}
    volumes: [data:/data]
    networks: [default, back]
    depends_on: [db]
    configs: [site]
    healthcheck: {test: curl x, interval: 5s}
  db: {image: db, networks: [back]}
networks: {back: {internal: true}}
volumes: {data: }
configs: {site: {content: hello}}
"""

Tampering = Callable[[dict[str, Any]], Any]
TAMPERED: dict[str, tuple[Tampering, str]] = {
    "privileged": (lambda c: c["services"]["web"].update(privileged=True), "services.web"),
    "host network": (lambda c: c["services"]["web"].update(network_mode="host"), "services.web"),
    "host processes": (lambda c: c["services"]["db"].update(pid="host"), "services.db"),
    "another image": (lambda c: c["services"]["web"].update(image="other"), "services.web.image"),
    "a bind": (
        lambda c: c["services"]["web"]["volumes"].append({"type": "bind", "source": "/", "target": "/h"}),
        "services.web",
    ),
    "another volume": (lambda c: c["services"]["web"]["volumes"][0].update(source="x1"), "services.web.volumes"),
    "another target": (lambda c: c["services"]["web"]["volumes"][0].update(target="/etc"), "services.web.volumes"),
    "another port": (lambda c: c["services"]["web"]["ports"][0].update(published="22"), "services.web.ports"),
    "one more port": (
        lambda c: c["services"]["db"].update(ports=[{"target": 1, "published": "1"}]), "services.db.ports",
    ),
    "a key nobody knows": (lambda c: c["services"]["web"].update(provider={"type": "x"}), "services.web.provider"),
    "one more variable": (lambda c: c["services"]["web"]["environment"].update(B="c"), "services.web.environment.B"),
    "a lost limit": (lambda c: c["services"]["web"]["deploy"]["resources"].pop("limits"), "services.web.deploy"),
    "another limit": (
        lambda c: c["services"]["web"]["deploy"]["resources"]["limits"].update(memory="1099511627776"),
        "services.web.deploy",
    ),
    "more replicas": (lambda c: c["services"]["web"].update(scale=5), "services.web.deploy"),
    "a lost label": (lambda c: c["services"]["web"]["labels"].pop("slipway.service"), "services.web.labels"),
    "another label": (lambda c: c["services"]["web"]["labels"].update({"slipway.service": "x"}), "services.web.labels"),
    "another alias": (
        lambda c: c["services"]["db"]["networks"].update(back={"aliases": ["svc_0000000000000000"]}),
        "services.db.networks",
    ),
    "another service": (lambda c: c["services"].update(evil={"image": "x"}), "services.evil"),
    "a lost service": (lambda c: c["services"].pop("db"), "services.db"),
    "another network": (lambda c: c["networks"]["back"].update(name="bridge"), "networks.back.name"),
    "a network of Compose's own": (lambda c: c["networks"]["back"].pop("external"), "networks.back.external"),
    "one more network": (lambda c: c["networks"].update(x={"name": "x", "external": True}), "networks.x"),
    "driver options": (lambda c: c["volumes"]["data"].update(driver_opts={"device": "/"}), "volumes.data.driver_opts"),
    "another volume's name": (lambda c: c["volumes"]["data"].update(name="other"), "volumes.data.name"),
    "another config": (lambda c: c["configs"]["site"].update(content="bye"), "configs.site.content"),
    "a config from a file": (lambda c: c["configs"]["site"].update(file="/etc/shadow"), "configs.site.file"),
    "secrets": (lambda c: c.update(secrets={"s": {"file": "/etc/shadow"}}), "secrets"),
    "another project": (lambda c: c.update(name="other"), "name"),
    "no services": (lambda c: c.pop("services"), "services"),
    "a command of another kind": (lambda c: c["services"]["web"].update(command={"a": "b"}), "services.web.command"),
}  # fmt: skip


@pytest.fixture(scope="module")
def rich(compose: Resolved, planned: Planned) -> tuple[dict[str, Any], Plan]:
    plan = planned(RICH, publish_ports=True)
    return compose(json.dumps(plan.document)), plan


@pytest.mark.parametrize("tampering", TAMPERED)
def test_what_differs_on_the_host_is_found(rich: tuple[dict[str, Any], Plan], tampering: str) -> None:
    resolved, plan = copy.deepcopy(rich[0]), rich[1]
    tamper, path = TAMPERED[tampering]

    tamper(resolved)

    assert any(found.path.startswith(path) for found in judge(resolved, plan.document))


def test_what_does_not_differ_is_not_found(rich: tuple[dict[str, Any], Plan]) -> None:
    assert judge(rich[0], rich[1].document) == []
