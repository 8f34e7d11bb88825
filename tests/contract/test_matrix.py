"""Every route, asked by every kind of caller for an own, a foreign and a missing object: made from the route table.

What another customer has must not be told from what does not exist, by any route, in any part of the answer.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import pytest

import app
from chalicelib.api.contract import Declared
from chalicelib.api.http import DECLARED
from chalicelib.domain.panel import Caller, Role
from tests.api.conftest import Api, Reply
from tests.contract.world import COMPOSE, ORPHAN, TEMPLATE, Estate, World, fresh

assert app.app.routes  # importing it declares every route


@dataclass(frozen=True)
class Who:
    name: str
    role: Role | None  # None: no token at all
    bound: bool = False

    def may(self, route: Declared) -> bool:
        if route.role is None:
            return True
        return self.role is not None and Caller(token_id="", role=self.role, customer_id=None).at_least(route.role)


CALLERS = (
    Who("nobody", None),
    Who("viewer", "viewer"),
    Who("deployer", "deployer"),
    Who("admin", "admin"),
    Who("bound viewer", "viewer", bound=True),
    Who("bound deployer", "deployer", bound=True),
)
# Objects that belong to a customer; all others are everybody's, or the admins'.
OWNED = ("service_id", "job_id", "customer_id")
# A route that is written must be asked for something that it can do.
BODIES: dict[str, dict[str, Any]] = {
    "create_service": {"name": "new", "deploy_method": "compose", "compose": COMPOSE},
    "change_service": {"name": "renamed"},
    "create_customer": {"name": "New"},
    "change_customer": {"name": "Renamed"},
    "create_host": {"name": "new", "address": "192.0.2.9", "user": "deploy", "trust_on_first_use": True},
    "change_host": {"labels": {"disk": "ssd"}},
    "sweep_host": {"service_ids": [ORPHAN]},
    "create_token": {"name": "ci", "role": "viewer"},
    "create_template": {**TEMPLATE, "id": "another"},
    "take_webhook": {"ref": "refs/heads/main", "after": "1" * 40, "project": {"default_branch": "main"}},
}
# Asked in these ways a foreign object still looks as if there were none.
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"headers": {"if_match": '"1"'}},
    {"headers": {"if_match": '"999"'}},
    {"headers": {"if_match": "no tag"}},
    {"headers": {"idempotency_key": ""}},
    {"raw": b"{"},
    {"raw": b"[]", "content_type": "text/plain"},
    {"query": "?page=0&wait=x&tail=-1&dry_run=perhaps"},
    {"query": "?dry_run=true"},
)


@pytest.mark.parametrize("who", CALLERS, ids=lambda who: who.name)
@pytest.mark.parametrize("route", DECLARED, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_answers_each_caller_what_its_role_and_customer_allow(
    api: Api, world: World, route: Declared, who: Who
) -> None:
    asked = Asked(api.as_(_token(world, who)), world, route)

    for whose in ("missing", "foreign", "own") if asked.has_object else ("own",):
        reply = asked.send(whose)
        assert reply.status in expected(route, who, whose), f"{whose}: {reply.text}"
        if who.bound:
            _tells_nothing_of(world.foreign, reply)


@pytest.mark.parametrize("who", [who for who in CALLERS if who.bound], ids=lambda who: who.name)
@pytest.mark.parametrize(
    "route",
    [route for route in DECLARED if route.role and any(f"{{{name}}}" in route.path for name in OWNED)],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_what_is_anothers_is_answered_as_what_is_missing(api: Api, world: World, route: Declared, who: Who) -> None:
    asked = Asked(api.as_(_token(world, who)), world, route)

    for way in WAYS:
        key = way.get("headers", {}).get("idempotency_key")
        missing, foreign = asked.send("missing", **way), asked.send("foreign", **way)
        assert _comparable(foreign) == _comparable(missing), way
        if key is None:
            is_read = not way.get("query") or route.query is not None
            assert foreign.status == ((404 if is_read else 422) if who.may(route) else 403), way


@pytest.mark.parametrize(
    "route", [route for route in DECLARED if route.role], ids=lambda route: f"{route.method} {route.path}"
)
def test_a_parameter_that_a_route_does_not_know_is_refused_by_every_route(
    api: Api, world: World, route: Declared
) -> None:
    reply = Asked(api, world, route).send("own", query="?colour=red")

    assert reply.status == 422, reply.text
    assert [problem["path"] for problem in reply.error["details"]] == ["colour"]


def test_a_filter_for_anothers_services_finds_what_one_for_nobodys_finds(api: Api, world: World) -> None:
    bound = api.as_(world.panel.a_token("viewer", world.own.customer_id))

    for query in ("customer_id={}", "search=foreign&customer_id={}", "per_page=1&customer_id={}"):
        foreign = bound.get(f"/services?{query.format(world.foreign.customer_id)}")
        assert _comparable(foreign) == _comparable(bound.get(f"/services?{query.format('cust_none')}"))
    assert bound.get("/services?search=foreign").body["total"] == 0


@pytest.mark.parametrize("dry_run", ["", "?dry_run=true"])
def test_deploying_for_another_customer_is_refused_as_for_one_that_is_not(api: Api, world: World, dry_run: str) -> None:
    bound = api.as_(world.panel.a_token("deployer", world.own.customer_id))
    body = BODIES["create_service"]

    foreign = bound.post(f"/services{dry_run}", {**body, "customer_id": world.foreign.customer_id})
    missing = bound.post(f"/services{dry_run}", {**body, "customer_id": "cust_0000000000000000"})

    assert foreign.status == 422
    assert _comparable(foreign) == _comparable(missing)


Whose = Literal["own", "foreign", "missing"]


def expected(route: Declared, who: Who, whose: str) -> set[int]:
    """Every status that may be the answer."""
    if route.role is not None and who.role is None:
        return {401}
    if route.path.startswith("/agent/"):  # no client's token opens these
        return {401}
    if not who.may(route):
        return {403}
    is_owned = route.role is not None and any(f"{{{name}}}" in route.path for name in OWNED)
    if whose == "missing" or (whose == "foreign" and who.bound and is_owned):
        return {404}
    return set(route.answers)


class Asked:
    """One route, asked for one or the other object."""

    def __init__(self, api: Api, world: World, route: Declared) -> None:
        self._api, self._world, self._route = api, world, route

    @property
    def has_object(self) -> bool:
        return "{" in self._route.path

    def send(
        self,
        whose: str,
        query: str = "",
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        path = re.sub(r"{(\w+)}", lambda found: self._id(found[1], whose), self._route.path) + query
        if self._route.name == "take_webhook":
            headers = {**(headers or {}), **self._signed(whose)}
        return self._api.send(self._route.method, path, self._body(), raw, content_type, headers)

    def _signed(self, whose: str) -> dict[str, str]:
        """As GitLab tells of a push: by its own secret, and by a new delivery."""
        secret = (self._world.own if whose == "own" else self._world.foreign).webhook_secret()
        return {"X_Gitlab_Token": secret, "X_Gitlab_Event": "Push Hook", "X_Gitlab_Event_UUID": fresh("delivery")}

    def _body(self) -> Any:
        name = self._route.name
        body = BODIES.get(name, {})
        if name == "create_service":
            return {**body, "name": fresh("new"), "customer_id": self._world.own.customer_id}
        if name == "create_registry":
            registry = f"{fresh('new')}.example.com"
            return {"customer_id": self._world.own.customer_id, "registry": registry, "username": "a", "password": "b"}
        if name in ("create_host", "change_service"):
            return {**body, "name": fresh("new")}
        return {**body, "id": fresh("new")} if name == "create_template" else body or None

    def _id(self, name: str, whose: str) -> str:
        if name == "provider":
            return "gitlab"
        if whose == "missing":
            return f"{name.removesuffix('_id')[:4]}_zzzzzzzzzzzzzzzz"
        estate = self._world.own if whose == "own" else self._world.foreign
        if name in OWNED:
            return self._owned(name, estate)
        ids = {
            "host_id": self._host_id,
            "token_id": self._token_id,
            "template_id": self._template_id,
            "registry_id": self._registry_id,
        }
        return ids[name]()

    def _owned(self, name: str, estate: Estate) -> str:
        if self._route.name == "delete_customer":  # one with services is not deleted
            return self._world.panel.a_customer("Leaving").id
        if self._route.name == "cancel_job":
            return estate.busy_job_id
        if self._route.name in ("create_webhook", "take_webhook"):
            return estate.repository_service_id
        found: str = getattr(estate, name)
        return found

    def _host_id(self) -> str:
        if self._route.name == "delete_host":
            return self._world.panel.a_host().id
        return self._world.host_id

    def _token_id(self) -> str:
        if self._route.name != "revoke_token":
            return self._world.token_id
        spare = self._world.panel.a_token("viewer")
        return f"tok_{spare.split('_')[2]}"

    def _registry_id(self) -> str:
        leaves = self._route.name == "delete_registry"
        return self._world.a_registry(f"{fresh('leaving')}.example.com") if leaves else self._world.registry_id

    def _template_id(self) -> str:
        if self._route.name != "delete_template":
            return "redis"
        made = self._api.as_(self._world.panel.a_token("admin")).post("/templates", TEMPLATE)
        assert made.status in (201, 409)
        return str(TEMPLATE["id"])


def _token(world: World, who: Who) -> str | None:
    if who.role is None:
        return None
    return world.panel.a_token(who.role, world.own.customer_id if who.bound else None)


def _tells_nothing_of(estate: Estate, reply: Reply) -> None:
    told = reply.text + json.dumps(reply.headers)
    for secret in (estate.customer_id, estate.service_id, estate.job_id, estate.busy_job_id, "foreign"):
        assert secret not in told


def _comparable(reply: Reply) -> Any:
    """All of an answer but what differs between any two."""
    body = json.loads(reply.text)
    body.get("error", {}).pop("request_id", None)
    return reply.status, body, {name: value for name, value in reply.headers.items() if name != "X-Request-Id"}
