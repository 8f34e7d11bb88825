"""What schemathesis makes of the contract, sent through the public port: no 5xx, and no answer that is not told of.

Each request that it makes up is sent as it is, and again with the names of things that there are, so that what lies
behind the first look-up is reached too.
"""

import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
import requests
import schemathesis
from chalice.config import Config
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    CoveragePhaseConfig,
    GenerationConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import app
from chalicelib.api.openapi import document
from infra.local.front import Front
from infra.local.gateway import Gateway
from tests.contract.world import COMPOSE, ORPHAN, World, fresh

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# SLIPWAY_FUZZ_EXAMPLES=300 for a longer look.
EXAMPLES = int(os.environ.get("SLIPWAY_FUZZ_EXAMPLES", "12"))

assert app.app.routes  # importing it declares every route
schema = schemathesis.openapi.from_dict(
    cast(dict[str, Any], document()),
    config=SchemathesisConfig(
        seed=20,
        projects=ProjectsConfig(
            default=ProjectConfig(
                generation=GenerationConfig(deterministic=True),
                phases=PhasesConfig(coverage=CoveragePhaseConfig(enabled=EXAMPLES > 12)),
            )
        ),
    ),
)


@pytest.fixture(scope="module")
def url(shared_world: World) -> Iterator[str]:
    gateway = Gateway(app.app, Config("local", config_from_disk={"stages": {"local": {}}}))
    with socket.create_server(("127.0.0.1", 0)) as listener, Front([listener], gateway):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def session(shared_world: World) -> Iterator[requests.Session]:
    with requests.Session() as connection:
        connection.trust_env = False
        connection.headers["Authorization"] = f"Bearer {shared_world.panel.a_token('admin')}"
        yield connection


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_no_answer_is_a_fault_or_undocumented(
    case: schemathesis.Case[Any], world: World, url: str, session: requests.Session
) -> None:
    for real in (False, True):
        if real:
            _make_real(case, world)
        world.settle()
        response = case.call(base_url=url, session=session, timeout=30)
        case.validate_response(response, checks=CHECKS)


def _make_real(case: schemathesis.Case[Any], world: World) -> None:
    """Have the request name things that there are, and ask for something new where it makes one."""
    for name in case.path_parameters:
        case.path_parameters[name] = _real(name, case, world)
    for header in ("If-Match", "Idempotency-Key"):  # what it made up has refused the first one
        case.headers.pop(header, None)
    if not isinstance(case.body, dict):
        return
    for name in case.body:
        if name in ("customer_id", "host_id", "template_id"):
            case.body[name] = _real(name, case, world)
    good: dict[str, dict[str, Any]] = {
        "create_service": {"name": fresh("fuzz"), "customer_id": world.own.customer_id},
        "create_host": {"name": fresh("fuzz"), "trust_on_first_use": True},
        "create_template": {"id": fresh("fuzz"), "compose": COMPOSE},
        "create_registry": {"customer_id": world.own.customer_id, "registry": f"{fresh('fuzz')}.example.com"},
        "sweep_host": {"service_ids": [ORPHAN]},
        "roll_back_service": {"release": 1},
    }
    case.body |= good.get(_name(case), {})
    if _name(case) == "create_service":
        for source in list(case.body):
            if source.startswith(("git_", "ai_", "host_", "template_")):
                case.body.pop(source)
        case.body |= {"deploy_method": "compose", "compose": COMPOSE}


def _real(name: str, case: schemathesis.Case[Any], world: World) -> str:
    if name in ("template_id", "provider"):
        return {"template_id": "uptime-kuma", "provider": "gitlab"}[name]
    if _name(case) in ("create_webhook", "take_webhook"):
        case.headers["X-Gitlab-Token"] = world.own.webhook_secret()
        return world.own.repository_service_id
    if name == "registry_id":
        return world.a_registry("registry.example.com")
    if name == "customer_id":
        leaves = _name(case) in ("delete_customer", "change_customer")
        return world.panel.a_customer("Leaving").id if leaves else world.own.customer_id
    if name == "host_id":
        leaves = _name(case) in ("delete_host", "change_host")  # one that moves takes no services until it is checked
        return world.panel.a_host(fresh("leaving")).id if leaves else world.host_id
    if name == "job_id":
        return world.own.busy_job_id if _name(case) == "cancel_job" else world.own.job_id
    return {"service_id": world.own.service_id, "token_id": world.token_id}[name]


def _name(case: schemathesis.Case[Any]) -> str:
    return str(case.operation.definition.raw["operationId"])
