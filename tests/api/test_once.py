"""Idempotency-Key: carried out once, answered as often as it is asked."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.api import once
from chalicelib.domain.errors import HostUnreachable, Unavailable
from chalicelib.store import replies
from tests.api.conftest import Api
from tests.api.crowd import all_at_once, asking, gateway, headers_of
from tests.api.test_services import deployed
from tests.emulator import Panel


def test_a_hundred_equal_requests_at_once_make_one_service_and_one_job(panel: Panel, wanted: dict[str, Any]) -> None:
    token = panel.a_token("deployer")
    for adapter in ("table", "sealer", "workflow"):  # boto3 makes no clients in several threads at once
        getattr(panel, adapter)

    with gateway() as panel_api:
        request = asking("POST", "/services", token, wanted, idempotency_key="order-1")
        answers = all_at_once([lambda: panel_api.answer(request)] * 100)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert len({headers_of(answer)["location"] for answer in answers}) == 1
    assert len([answer for answer in answers if "idempotency-replayed" in headers_of(answer)]) == 99
    assert len(panel.services.rows()) == 1
    assert [job.id for job in panel.jobs.unfinished()] == [json.loads(answers[0].body)["deploy_job_id"]]
    assert len(panel.workflow.started) == 1


def test_a_repeat_gets_the_first_answer(api: Api, wanted: dict[str, Any]) -> None:
    first = api.post("/services", wanted, idempotency_key="k")
    second = api.post("/services", wanted, idempotency_key="k")

    assert (first.status, second.status) == (201, 201)
    assert second.body == first.body
    for header in ("Location", "X-Job-Id", "ETag"):
        assert second.headers[header] == first.headers[header]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.headers["X-Request-Id"] != first.headers["X-Request-Id"]


def test_a_refusal_is_an_answer_too(api: Api, wanted: dict[str, Any]) -> None:
    first = api.post("/services", {**wanted, "name": "Not A Label"}, idempotency_key="k")
    second = api.post("/services", {**wanted, "name": "Not A Label"}, idempotency_key="k")

    assert (first.status, second.status) == (422, 422)
    assert second.body == first.body


@pytest.mark.parametrize("other", ["body", "path", "query", "method"])
def test_another_request_under_the_same_key_is_a_409(
    api: Api, panel: Panel, wanted: dict[str, Any], other: str
) -> None:
    assert api.post("/services", wanted, idempotency_key="k").status == 201

    reply = {
        "body": lambda: api.post("/services", {**wanted, "name": "other"}, idempotency_key="k"),
        "path": lambda: api.post("/customers", wanted, idempotency_key="k"),
        "query": lambda: api.post("/services?dry_run=true", wanted, idempotency_key="k"),
        "method": lambda: api.delete("/services/svc_1", idempotency_key="k"),
    }[other]()

    assert (reply.status, reply.error["code"]) == (409, "conflict")
    assert "another request" in reply.error["message"]
    assert len(panel.services.rows()) == 1


def test_keys_of_two_tokens_are_two_keys(api: Api, panel: Panel) -> None:
    mine = api.post("/customers", {"name": "One"}, idempotency_key="k")
    theirs = api.as_(panel.a_token()).post("/customers", {"name": "Two"}, idempotency_key="k")

    assert (mine.status, theirs.status) == (201, 201)
    assert mine.body["id"] != theirs.body["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "snow☃man".encode().decode("latin-1"), "tab\there"])
def test_a_bad_key_is_a_422_and_nothing_is_done(api: Api, panel: Panel, key: str) -> None:
    before = len(panel.customers.all())

    reply = api.post("/customers", {"name": "One"}, idempotency_key=key)

    assert (reply.status, reply.error["details"][0]["path"]) == (422, "Idempotency-Key")
    assert len(panel.customers.all()) == before


def test_the_longest_key_is_taken(api: Api) -> None:
    assert api.post("/customers", {"name": "One"}, idempotency_key="~" * 255).status == 201


def test_a_fault_of_ours_is_not_kept(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["lifecycle"] = HostUnreachable("no answer")
    assert api.post(f"/services/{service_id}/stop", idempotency_key="k").status == 502

    panel.host_calls.answers["lifecycle"] = HostUnreachable("still none")
    again = api.post(f"/services/{service_id}/stop", idempotency_key="k")

    assert "Idempotency-Replayed" not in again.headers


def test_a_tokens_text_is_kept_sealed(api: Api, panel: Panel) -> None:
    first = api.post("/tokens", {"name": "ci", "role": "viewer"}, idempotency_key="k")
    second = api.post("/tokens", {"name": "ci", "role": "viewer"}, idempotency_key="k")

    assert second.body["token"] == first.body["token"]
    client = panel.client("dynamodb")
    everything = str(client.scan(TableName=panel.settings.table)["Items"])
    assert first.body["token"] not in everything
    assert first.body["token"].rpartition("_")[2] not in everything


def test_a_request_at_work_is_waited_for(panel: Panel, wanted: dict[str, Any]) -> None:
    token, at_work, go_on = panel.a_token("admin"), threading.Event(), threading.Event()

    def checked(host_id: str) -> dict[str, str]:
        at_work.set()
        assert go_on.wait(20)
        return {"status": "ready"}

    panel.host_calls.answers["check_host"] = checked
    request = asking("POST", f"/hosts/{panel.a_host('two').id}/check", token, idempotency_key="k")

    def second(panel_api: Any) -> Any:
        assert at_work.wait(20)
        threading.Timer(0.3, go_on.set).start()
        return panel_api.answer(request)

    with gateway() as panel_api:
        answers = all_at_once([lambda: panel_api.answer(request), lambda: second(panel_api)])

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert len([call for call, _ in panel.host_calls.told if call == "check_host"]) == 1


def test_a_request_that_stays_at_work_is_a_409(api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "WAIT_SECONDS", 0)
    body = {"name": "One"}
    token_id = next(token.id for token in panel.tokens.all())
    same = once.fingerprint("POST", "/api/customers", {}, json.dumps(body).encode())
    assert panel.replies.take(token_id, "k", same)

    reply = api.post("/customers", body, idempotency_key="k")

    assert (reply.status, reply.error["code"]) == (409, "conflict")
    assert "still in progress" in reply.error["message"]


def test_a_crash_frees_the_key_after_its_claim(api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"name": "One"}
    token_id = next(token.id for token in panel.tokens.all())
    same = once.fingerprint("POST", "/api/customers", {}, json.dumps(body).encode())
    monkeypatch.setattr(replies, "CLAIM_SECONDS", -1)
    assert panel.replies.take(token_id, "k", same)
    monkeypatch.undo()

    assert api.post("/customers", body, idempotency_key="k").status == 201


class Killed(BaseException):
    """The process ends here."""


def _killed_before_it_answers(panel: Panel, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> None:
    """Ask, have the process end when all is done but the answer, and its claim be over."""

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(replies, "CLAIM_SECONDS", -2)
        patched.setattr(panel.replies, "keep", killed)
        with pytest.raises(Killed):
            ask()


def test_a_crash_after_a_service_was_made_is_told_to_who_repeats_and_makes_no_other(
    api: Api, panel: Panel, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _killed_before_it_answers(panel, monkeypatch, lambda: api.post("/services", wanted, idempotency_key="k"))

    repeats = [api.post("/services", wanted, idempotency_key="k") for _ in range(2)]

    (row,) = panel.services.rows()
    (job,) = panel.jobs.unfinished()
    assert [reply.status for reply in repeats] == [409, 409]
    assert repeats[0].error["details"] == {"service_id": row["id"], "job_id": job.id}
    assert "was carried out" in repeats[0].error["message"]


@pytest.mark.parametrize("verb", ["redeploy", "stop", "delete"])
def test_a_crash_after_a_job_began_is_told_to_who_repeats(
    api: Api, panel: Panel, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    service_id = deployed(api, panel, wanted)
    panel.host_calls.answers["lifecycle"] = lambda job_id: {"status": "stopped", "message": "Service stopped"}
    before = {job.id for job in panel.jobs.unfinished()}

    def ask() -> Any:
        if verb == "delete":
            return api.delete(f"/services/{service_id}", idempotency_key="k")
        return api.post(f"/services/{service_id}/{verb}", idempotency_key="k")

    _killed_before_it_answers(panel, monkeypatch, ask)
    reply = ask()

    (job,) = [job for job in panel.jobs.unfinished() if job.id not in before]
    assert (reply.status, reply.error["details"]) == (409, {"service_id": service_id, "job_id": job.id})


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/customers", {"name": "One"}, "customer_id"),
        ("/tokens", {"name": "ci", "role": "viewer"}, "token_id"),
    ],
)
def test_a_crash_after_a_record_was_stored_makes_no_second_one(
    api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], kind: str
) -> None:
    _killed_before_it_answers(panel, monkeypatch, lambda: api.post(path, body, idempotency_key="k"))

    reply = api.post(path, body, idempotency_key="k")

    made = [row["id"] for row in api.get(path).body["data"] if row["name"] == body["name"]]
    assert (reply.status, [reply.error["details"][kind]]) == (409, made)


def test_what_nobody_asked_for_is_not_bound_to_a_key(
    api: Api, panel: Panel, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(api, panel, wanted)
    path = f"/customers/{wanted['customer_id']}"

    def ask() -> Any:
        return api.patch(path, {"status": "suspended"}, idempotency_key="k")

    _killed_before_it_answers(panel, monkeypatch, ask)  # its services are being stopped by now

    assert ask().status == 200


def test_an_answer_that_cannot_be_kept_is_not_carried_out_again(
    api: Api, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_order(plain: bytes, owner: str) -> bytes:
        raise Unavailable("KMS refused generate_data_key")

    monkeypatch.setattr(panel.sealer, "seal", out_of_order)
    assert api.post("/customers", {"name": "One"}, idempotency_key="k").status == 201

    reply = api.post("/customers", {"name": "One"}, idempotency_key="k")

    assert reply.status == 409
    assert "was carried out" in reply.error["message"]
    assert len(panel.customers.all()) == 1


def test_a_read_has_no_use_for_a_key(api: Api) -> None:
    assert api.get("/services", idempotency_key="k").status == 200
    assert api.get("/customers", idempotency_key="k").status == 200
