"""The rate limit: told in every answer, kept over all processes, each token's own."""

from typing import Any

import pytest

from chalicelib.api import rates
from chalicelib.domain.errors import Unavailable
from chalicelib.domain.panel import Caller
from tests.api.conftest import Api
from tests.api.crowd import all_at_once
from tests.emulator import Panel


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    clock = Clock()
    monkeypatch.setattr(rates, "_clock", clock)
    return clock


class Clock:
    now = 1_800_000_005.0  # five seconds into a minute

    def __call__(self) -> float:
        return self.now


def a_caller(limit: int | None) -> Caller:
    return Caller(token_id="tok_a", role="viewer", customer_id=None, requests_per_minute=limit)


def granted(limit: int, times: int) -> int:
    taken = [rates.take(a_caller(limit)) for _ in range(times)]
    return len([allowance for allowance in taken if allowance and allowance.granted])


def test_an_answer_says_what_is_left(api: Api, panel: Panel) -> None:
    caller = api.as_(panel.a_token("viewer", requests_per_minute=3))

    replies = [caller.get("/services"), caller.get("/services/svc_none"), caller.post("/services", {})]

    assert [reply.status for reply in replies] == [200, 404, 403]
    assert [reply.headers["RateLimit-Limit"] for reply in replies] == ["3", "3", "3"]
    assert [reply.headers["RateLimit-Remaining"] for reply in replies] == ["2", "1", "0"]
    assert [reply.headers["RateLimit-Reset"] for reply in replies] == ["55", "55", "55"]
    assert not any("Retry-After" in reply.headers for reply in replies)


def test_one_request_too_many_is_a_429_that_says_when_to_come_back(api: Api, panel: Panel, clock: Clock) -> None:
    caller = api.as_(panel.a_token("viewer", requests_per_minute=2))
    caller.get("/services")
    caller.get("/services")

    reply = caller.get("/services")

    assert (reply.status, reply.error["code"]) == (429, "rate_limited")
    assert reply.error["details"] == {"retry_after_seconds": 55}
    assert (reply.headers["Retry-After"], reply.headers["RateLimit-Remaining"]) == ("55", "0")
    clock.now += 55
    assert caller.get("/services").status == 200


def test_the_installations_limit_is_for_tokens_without_one_of_their_own(api: Api, panel: Panel) -> None:
    object.__setattr__(panel.settings, "requests_per_minute", 1)
    plain, free = api.as_(panel.a_token("viewer")), api.as_(panel.a_token("viewer", requests_per_minute=0))

    assert [plain.get("/services").status for _ in range(2)] == [200, 429]
    assert [free.get("/services").status for _ in range(5)] == [200] * 5
    assert "RateLimit-Limit" not in free.get("/services").headers


def test_a_token_is_made_with_a_limit(api: Api) -> None:
    made = api.post("/tokens", {"name": "ci", "role": "viewer", "requests_per_minute": 1})

    assert made.body["requests_per_minute"] == 1
    assert api.get(f"/tokens/{made.body['id']}").body["requests_per_minute"] == 1
    caller = api.as_(made.body["token"])
    assert [caller.get("/services").status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("limit", [-1, 1_000_001, "10", 1.5])
def test_a_bad_limit_is_a_422(api: Api, limit: Any) -> None:
    reply = api.post("/tokens", {"name": "ci", "role": "viewer", "requests_per_minute": limit})

    assert (reply.status, reply.error["details"][0]["path"]) == (422, "requests_per_minute")


def test_a_refused_token_is_told_nothing_of_limits(api: Api) -> None:
    assert "RateLimit-Limit" not in api.as_("nonsense").get("/services").headers


def test_a_refused_write_leaves_its_key_free(api: Api, panel: Panel, clock: Clock) -> None:
    caller = api.as_(panel.a_token("admin", requests_per_minute=1))
    caller.get("/services")
    assert caller.post("/customers", {"name": "One"}, idempotency_key="k").status == 429
    clock.now += 60

    assert caller.post("/customers", {"name": "One"}, idempotency_key="k").status == 201


@pytest.mark.parametrize("limit", [1, 59, 60, 600])
def test_exactly_the_limit_is_granted(panel: Panel, limit: int) -> None:
    rates.forget()

    assert granted(limit, limit + 20) == limit


def test_threads_of_one_process_share_the_limit(panel: Panel) -> None:
    rates.forget()
    panel.rates.add("tok_z", 0, 1)  # the client is made

    counts = all_at_once([lambda: granted(600, 50)] * 20)

    assert sum(counts) == 600


def test_processes_share_the_limit_but_for_what_each_has_not_settled_yet(panel: Panel) -> None:
    rates.forget()
    first = granted(600, 300)
    others = 0
    for _ in range(10):
        rates.forget()  # another process, which knows nothing
        others += granted(600, 45)

    assert 600 <= first + others <= 600 + 10 * 9


def test_a_process_that_comes_late_learns_it_with_its_first_request(panel: Panel) -> None:
    rates.forget()
    assert granted(600, 700) == 600

    rates.forget()

    assert granted(600, 5) == 0


def test_a_minute_costs_a_write_and_one_for_each_tenth_request(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    rates.forget()
    settled: list[int] = []
    add = panel.rates.add

    def noted(token_id: str, minute: int, requests: int) -> int:
        settled.append(requests)
        return add(token_id, minute, requests)

    monkeypatch.setattr(panel.rates, "add", noted)

    granted(600, 101)

    assert settled == [1] + [10] * 10


def test_who_cannot_count_does_not_refuse(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    rates.forget()

    def out_of_order(token_id: str, minute: int, requests: int) -> int:
        raise Unavailable("DynamoDB did not answer")

    monkeypatch.setattr(panel.rates, "add", out_of_order)

    assert granted(5, 8) == 5
