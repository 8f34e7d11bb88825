"""Templates over REST: listed, found, added and refused; and services made from them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_services import deployed
from tests.emulator import Panel

PAGE = (Path(__file__).resolve().parents[2] / "docs/templates.md").read_text()
EXAMPLE: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
BLOG: dict[str, Any] = {
    "id": "blog", "name": "Blog", "category": "webapps", "compose": "services: {web: {image: 'blog:1'}}",
    "expose": {"service": "web", "port": 80}, "tags": ["journal"],
}  # fmt: skip


def ids(api: Api, query: str = "") -> list[str]:
    return [row["id"] for row in api.get(f"/templates{query}").body["data"]]


def test_templates_are_listed_shown_added_and_removed(api: Api) -> None:
    shipped = ids(api)

    assert api.post("/templates", BLOG).status == 201
    assert api.post("/templates", BLOG).status == 409
    assert ids(api) == sorted([*shipped, "blog"])
    assert api.get("/templates/blog").body["compose"] == BLOG["compose"]
    assert api.delete("/templates/blog").status == 204
    assert api.get("/templates/blog").status == 404
    assert api.delete("/templates/uptime-kuma").status == 409
    assert api.post("/templates", {**BLOG, "id": "postgres"}).status == 409


def test_templates_are_found_by_words_category_and_what_is_featured(api: Api) -> None:
    api.post("/templates", BLOG)

    assert ids(api, "?search=JOURNAL") == ["blog"]
    assert "uptime-kuma" in ids(api, "?search=status-page")
    assert ids(api, "?category=databases") == ["postgres", "redis"]
    assert ids(api, "?category=databases&featured=true") == ["postgres"]
    assert "blog" in ids(api, "?featured=false")
    assert "blog" not in ids(api, "?featured=true")
    assert ids(api, "?search=nothing-is-called-so") == []


@pytest.mark.parametrize("query", ["?featured=yes", "?colour=red", "?category="])
def test_a_bad_query_is_a_422_or_finds_nothing(api: Api, query: str) -> None:
    reply = api.get(f"/templates{query}")

    assert reply.status == 422 or reply.body["data"] == []


def test_a_template_shows_what_a_form_needs(api: Api) -> None:
    shown = api.get("/templates/redis").body

    assert shown.keys() == {
        "id", "name", "description", "category", "tags", "featured", "compose", "variables", "expose", "healthcheck",
        "min_resources",
    }  # fmt: skip
    variables = {variable["name"]: variable for variable in shown["variables"]}
    common = {"name", "label", "description", "placeholder", "type", "required", "default"}
    assert variables["WHEN_FULL"].keys() == common | {"options"}
    assert variables["MAX_MEMORY_MB"].keys() == common | {"min", "max"}
    assert variables["REDIS_PASSWORD"].keys() == common | {"pattern", "length", "charset"}
    assert shown["expose"] is None
    assert api.get("/templates/gitea").body["healthcheck"] == {
        "path": "/api/healthz", "port": 3000, "timeout_seconds": 180,
    }  # fmt: skip


def test_the_example_in_the_docs_is_taken_and_deploys(api: Api, wanted: dict[str, Any]) -> None:
    reply = api.post("/templates", EXAMPLE)

    assert reply.status == 201, reply.text
    assert api.get("/templates/guestbook").body == {**reply.body, "compose": EXAMPLE["compose"]}
    del wanted["compose"]
    created = api.post("/services", {**wanted, "deploy_method": "template", "template_id": "guestbook"})
    assert (created.status, created.body["warnings"]) == (201, [])


def test_the_page_names_every_template_and_every_field(api: Api) -> None:
    for row in api.get("/templates").body["data"]:
        assert f"| `{row['id']}` |" in PAGE
        assert f"| {row['min_resources']['memory_mb']} MB |" in PAGE
    for field in EXAMPLE:
        assert f"| `{field}`" in PAGE
    for kind in ("string", "integer", "boolean", "enum", "domain", "secret"):
        assert f"| `{kind}` |" in PAGE
    for path in Path(__file__).resolve().parents[2].glob("chalicelib/catalogue/*.yaml"):
        assert f"`{path.stem}`" in PAGE


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"compose": "services: {web: {image: x, privileged: true}}"}, "services.web.privileged"),
        ({"expose": {"service": "none", "port": 80}}, "expose.service"),
        ({"expose": {"service": "web", "port": 70000}}, "expose.port"),
        ({"expose": {"service": "web", "port": "80"}}, "expose.port"),
        ({"expose": {"service": "web", "port": 80, "protocol": "tcp"}}, "expose.protocol"),
        ({"variables": [{"name": "A", "type": "colour"}]}, "variables.0.type"),
        ({"variables": [{"name": "A", "typ": "string"}]}, "variables.0.typ"),
        ({"variables": [{"name": "A-B"}]}, "variables.0.name"),
        ({"variables": [{"name": "A"}, {"name": "A"}]}, "variables.1.name"),
        ({"variables": [{"name": "A", "type": "integer", "default": "many"}]}, "variables.0.default"),
        ({"variables": [{"name": "A", "type": "enum", "options": ["a"], "default": "b"}]}, "variables.0.default"),
        ({"variables": [{"name": "A", "pattern": "(a+)+"}]}, "variables.0.pattern"),
        ({"variables": {"A": "string"}}, "variables"),
        ({"healthcheck": {"path": "no slash"}}, "healthcheck.path"),
        ({"min_resources": {"memory_mb": 4096}}, "min_resources.memory_mb"),
        ({"featured": "yes"}, "featured"),
        ({"tags": ["Not A Tag"]}, "tags.0"),
        ({"colour": "red"}, "colour"),
        ({"id": "Not A Slug"}, "id"),
    ],
)  # fmt: skip
def test_a_bad_template_is_refused_and_its_fault_named(api: Api, changes: dict[str, Any], path: str) -> None:
    reply = api.post("/templates", {**BLOG, **changes})

    assert reply.status == 422, reply.text
    assert path in [detail["path"] for detail in reply.error["details"]]
    assert api.get("/templates/blog").status == 404


def test_only_admins_add_and_remove(api: Api, panel: Panel) -> None:
    deployer = api.as_(panel.a_token("deployer"))

    assert deployer.post("/templates", BLOG).status == 403
    assert deployer.delete("/templates/blog").status == 403
    assert deployer.get("/templates/postgres").status == 200


def test_wrong_and_missing_values_are_told_at_once_and_nothing_is_stored(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    del wanted["compose"]
    variables = {"HOST_PORT": "80", "POSTGRES_USER": "Robert'); DROP", "COLOUR": "red"}

    reply = api.post(
        "/services", {**wanted, "deploy_method": "template", "template_id": "postgres", "variables": variables}
    )

    assert reply.status == 422
    assert {(detail["path"], detail["rule"]) for detail in reply.error["details"]} == {
        ("variables.HOST_PORT", "too-small"),
        ("variables.POSTGRES_USER", "pattern"),
        ("variables.POSTGRES_PASSWORD", "missing-variable"),
        ("variables.COLOUR", "unknown-variable"),
    }
    assert panel.services.rows() == []


def test_a_database_has_no_url_and_an_admin_publishes_its_port(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    del wanted["compose"]
    variables = {"POSTGRES_PASSWORD": "canary-secret", "HOST_PORT": "15432"}
    body = {**wanted, "deploy_method": "template", "template_id": "postgres", "variables": variables}

    plan = api.post("/services?dry_run=true", body).body
    other = api.as_(panel.a_token("deployer")).post("/services?dry_run=true", body).body

    assert (plan["url"], plan["warnings"]) == (None, [])
    assert plan["published_ports"] == [{"ip": "", "port": 15432, "protocol": "tcp"}]
    assert (other["published_ports"], [warning["rule"] for warning in other["warnings"]]) == (
        [],
        ["port-not-published"],
    )
    assert plan["limits"] == {"cpu": 2.0, "memory_mb": 512}


def test_a_templates_service_knows_its_address_and_follows_its_name(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    del wanted["compose"]
    service_id = deployed(api, panel, wanted, deploy_method="template", template_id="gitea")
    made_up = panel.services.get(service_id)

    shown = api.get(f"/services/{service_id}").body
    renamed = api.patch(f"/services/{service_id}?dry_run=true", {"name": "code"}).body["compose"]
    moved = api.patch(f"/services/{service_id}?dry_run=true", {"variables": {"DOMAIN": "git.example.org"}}).body

    assert shown["variables"]["SERVICE_URL"] == "http://custom-app.localhost"
    assert shown["variables"]["DOMAIN"] == "custom-app.localhost"
    assert shown["variables"]["SECRET_KEY"] == "********"
    assert renamed["services"]["gitea"]["environment"]["GITEA__server__ROOT_URL"] == "http://code.localhost/"
    environment = moved["compose"]["services"]["gitea"]["environment"]
    assert environment["GITEA__server__ROOT_URL"] == "http://git.example.org/"
    assert environment["GITEA__server__DOMAIN"] == "git.example.org"
    assert not any("SECRET_KEY" in line and line[0] in "+-" for line in moved["diff"])
    assert panel.services.get(service_id) == made_up


def test_a_templates_service_is_held_to_its_types_when_it_changes(
    api: Api, panel: Panel, wanted: dict[str, Any]
) -> None:
    del wanted["compose"]
    service_id = deployed(api, panel, wanted, deploy_method="template", template_id="static-site")

    assert api.patch(f"/services/{service_id}", {"variables": {"PAGE": "x"}}).status == 422
    page = "<h1>Costs $5, not ${MORE}</h1>"
    plan = api.patch(f"/services/{service_id}?dry_run=true", {"variables": {"INDEX_HTML": page}})
    assert plan.status == 200, plan.text
    assert plan.body["compose"]["configs"]["page"]["content"].replace("$$", "$") == page
