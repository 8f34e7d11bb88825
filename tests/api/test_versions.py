"""ETag and If-Match: a change is made to what its caller saw, or not at all."""

from functools import partial
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.crowd import all_at_once, asking, gateway
from tests.api.test_services import deployed
from tests.emulator import Panel


@pytest.fixture(params=["services", "customers", "hosts"])
def path(request: pytest.FixtureRequest, api: Api, panel: Panel, wanted: dict[str, Any]) -> str:
    """Of one thing of each kind that has versions."""
    things = {
        "services": lambda: deployed(api, panel, wanted),
        "customers": lambda: panel.a_customer("Other").id,
        "hosts": lambda: panel.a_host("two").id,
    }
    return f"/{request.param}/{things[request.param]()}"


def test_a_thing_shows_its_version_and_keeps_it_while_it_is_not_changed(api: Api, path: str) -> None:
    tag = api.get(path).headers["ETag"]

    assert tag.strip('"').isdigit()
    assert tag == f'"{tag.strip(chr(34))}"'
    assert api.get(path).headers["ETag"] == tag


def test_a_change_of_what_was_seen_is_made(api: Api, path: str) -> None:
    tag = api.get(path).headers["ETag"]

    reply = api.patch(path, {"name": "changed"}, if_match=tag)

    assert reply.status == 200
    assert reply.headers["ETag"] != tag
    assert api.get(path).headers["ETag"] == reply.headers["ETag"]


@pytest.mark.parametrize("header", ['"0"', 'W/"1", W/"2", W/"3"', '"0", "999"', '""'])
def test_a_change_of_something_else_is_a_412_and_not_made(api: Api, path: str, header: str) -> None:
    before = api.get(path)

    changed = api.patch(path, {"name": "changed"}, if_match=header)
    deleted = api.delete(path, if_match=header)

    assert (changed.status, changed.error["code"]) == (412, "precondition_failed")
    assert (deleted.status, deleted.error["code"]) == (412, "precondition_failed")
    assert api.get(path).body["name"] == before.body["name"]
    assert api.get(path).headers["ETag"] == before.headers["ETag"]


def test_a_stale_tag_is_a_412(api: Api, panel: Panel) -> None:
    path = f"/customers/{panel.a_customer('Other').id}"
    tag = api.get(path).headers["ETag"]
    assert api.patch(path, {"name": "first"}, if_match=tag).status == 200

    assert api.patch(path, {"name": "second"}, if_match=tag).status == 412
    assert api.delete(path, if_match=tag).status == 412

    assert api.get(path).body["name"] == "first"


@pytest.mark.parametrize("header", ["*", '"0", {tag}', 'W/"9",{tag} , "7"'])
def test_any_tag_of_a_list_may_match(api: Api, path: str, header: str) -> None:
    tag = api.get(path).headers["ETag"]

    assert api.patch(path, {"name": "changed"}, if_match=header.format(tag=tag)).status == 200


@pytest.mark.parametrize("header", ["7", '"7', "", '"7" "8"', "*, *", 'w/"7"'])
def test_what_is_no_list_of_tags_is_a_400(api: Api, path: str, header: str) -> None:
    reply = api.delete(path, if_match=header)

    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert api.get(path).status == 200


def test_what_is_not_there_is_a_404_whatever_the_tag(api: Api) -> None:
    assert api.delete("/customers/cust_none", if_match="*").status == 404
    assert api.patch("/services/svc_none", {"name": "x"}, if_match='"1"').status == 404


def test_a_seen_thing_is_deleted(api: Api, path: str) -> None:
    assert api.delete(path, if_match=api.get(path).headers["ETag"]).status == 204


@pytest.mark.parametrize("call", ["redeploy", "rollback", "start", "stop", "restart"])
def test_a_job_is_begun_on_what_was_seen(api: Api, panel: Panel, wanted: dict[str, Any], call: str) -> None:
    path = f"/services/{deployed(api, panel, wanted)}"

    assert api.post(f"{path}/{call}", if_match='"0"').status == 412
    assert api.get(path).body["status"] == "running"


def test_a_job_changes_a_services_version(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    path = f"/services/{deployed(api, panel, wanted)}"
    tag = api.get(path).headers["ETag"]

    assert api.post(f"{path}/redeploy", if_match=tag).status == 200

    assert api.get(path).headers["ETag"] != tag


def test_a_dry_run_is_of_what_was_seen_too(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    path = f"/services/{deployed(api, panel, wanted)}"
    tag = api.get(path).headers["ETag"]

    assert api.patch(f"{path}?dry_run=true", {"name": "changed"}, if_match=tag).status == 200
    assert api.patch(f"{path}?dry_run=true", {"name": "changed"}, if_match='"0"').status == 412
    assert api.get(path).headers["ETag"] == tag


def test_of_many_changes_of_the_same_version_one_is_made(panel: Panel) -> None:
    token, customer = panel.a_token(), panel.a_customer("Other")
    requests = [
        asking("PATCH", f"/customers/{customer.id}", token, {"name": f"name {n}"}, if_match='"1"') for n in range(20)
    ]

    with gateway() as panel_api:
        answers = all_at_once([partial(panel_api.answer, asked) for asked in requests])

    assert sorted(answer.status for answer in answers) == [200] + [412] * 19
    assert panel.customers.get(customer.id).version == 2


def test_without_a_tag_a_customers_changes_at_once_are_all_made(panel: Panel) -> None:
    token, customer = panel.a_token(), panel.a_customer("Other")
    changes: list[dict[str, Any]] = [{"name": "changed"}, {"email": "ops@example.com"}]
    changes += [{"limits": {field: 1000 + n}} for n in range(2) for field in ("services", "cpu", "memory_mb")]
    requests = [asking("PATCH", f"/customers/{customer.id}", token, change) for change in changes]

    with gateway() as panel_api:
        answers = all_at_once([partial(panel_api.answer, asked) for asked in requests])

    assert [answer.status for answer in answers] == [200] * len(changes)
    after = panel.customers.get(customer.id)
    assert (after.name, after.email, after.version) == ("changed", "ops@example.com", 1 + len(changes))
    assert None not in after.limits.model_dump().values()


def test_a_change_to_what_is_so_already_leaves_the_version(api: Api, panel: Panel) -> None:
    customer, host = f"/customers/{panel.a_customer('Other').id}", f"/hosts/{panel.a_host('two').id}"
    api.post(f"{host}/drain")
    tags = [api.get(path).headers["ETag"] for path in (customer, host)]

    replies = [
        api.patch(customer, {}),
        api.patch(customer, {"name": "Other", "status": "active", "limits": {"cpu": None}}),
        api.post(f"{host}/drain"),
    ]

    assert [(reply.status, reply.headers["ETag"]) for reply in replies] == [
        (200, tags[0]),
        (200, tags[0]),
        (200, tags[1]),
    ]
    assert [api.get(path).headers["ETag"] for path in (customer, host)] == tags
    assert api.delete(f"{host}/drain").headers["ETag"] != tags[1]
    assert api.get(host).headers["ETag"] == api.delete(f"{host}/drain").headers["ETag"]


def test_a_customer_that_was_changed_meanwhile_is_not_deleted_and_its_tokens_work(api: Api, panel: Panel) -> None:
    customer = panel.a_customer("Other")
    token = panel.a_token("viewer", customer.id)
    old = panel.customers.get(customer.id)
    panel.customers.change(old, name="Renamed")

    assert api.delete(f"/customers/{customer.id}", if_match='"1"').status == 412

    assert api.as_(token).get(f"/customers/{customer.id}").body["name"] == "Renamed"
