"""The kit's reckoning, without a host."""

import base64
import io
import json
import multiprocessing
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.hostkit import (
    caddy,
    cgroups,
    clock,
    engine,
    fence,
    lifecycle,
    logs,
    measure,
    observe,
    places,
    preflight,
    pull,
    routes,
    subnets,
)
from chalicelib.hostkit.prune import EVERY_S, PRUNED, prune, prune_is_due
from chalicelib.hostkit.refusals import Refused
from chalicelib.hostkit.together import together

SERVICE = "svc_abcdefgh12345678"


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001
def test_times_are_read_as_datetime_reads_them(moment: datetime, offset: int) -> None:
    stamped = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    expected = (stamped - epoch) // timedelta(microseconds=1) * 1000

    assert clock.nanoseconds(stamped.isoformat()) == expected


def test_times_keep_their_nanoseconds_and_z_is_utc() -> None:
    assert clock.nanoseconds("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    assert clock.rfc3339(1.25) == "1970-01-01T00:00:01.250Z"


# subnets


def network(*cidrs: str) -> dict[str, Any]:
    return {"IPAM": {"Config": [{"Subnet": cidr} for cidr in cidrs]}}


def test_a_free_subnet_overlaps_no_network_whatever_its_size() -> None:
    taken = [network("198.18.0.0/28"), network("198.18.0.32/27", "fd00::/64"), network("198.18.1.0/24"), {"IPAM": None}]

    free = list(subnets.free_subnets("198.18.0.0/23", taken))

    assert free[:3] == ["198.18.0.16/28", "198.18.0.64/28", "198.18.0.80/28"]
    assert len(free) == 32 - 1 - 2 - 16


def test_a_network_that_holds_the_whole_pool_leaves_nothing() -> None:
    assert subnets.count_free("10.201.0.0/24", [network("10.0.0.0/8")]) == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_span_is_what_its_prefix_says(address: int, bits: int) -> None:
    dotted = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))

    first, last = subnets.span(f"{dotted}/{bits}")

    assert first <= address <= last
    assert last - first + 1 == 2 ** (32 - bits)


# logs


class Sent(io.BytesIO):
    """What the engine sent, read as the kit reads it."""

    def lines(self) -> Iterator[bytes]:
        return iter(self)


def frame(stream: int, second: int, text: str) -> bytes:
    payload = f"2026-01-01T00:00:{second:02d}.000000000Z {text}".encode()
    return struct.pack(">BxxxI", stream, len(payload)) + payload


def test_pieces_of_a_line_are_joined_per_stream_and_keep_their_first_time() -> None:
    sent = Sent(frame(1, 1, "one ") + frame(2, 2, "err\n") + frame(1, 3, "line\r\n") + frame(1, 4, "no end"))

    assert list(logs.framed_lines(sent)) == [
        ("stderr", b"2026-01-01T00:00:02.000000000Z", b"err"),
        ("stdout", b"2026-01-01T00:00:01.000000000Z", b"one line"),
        ("stdout", b"2026-01-01T00:00:04.000000000Z", b"no end"),
    ]


def test_a_frame_that_breaks_off_ends_the_stream_quietly() -> None:
    assert list(logs.framed_lines(Sent(frame(1, 1, "whole\n") + b"\x01\x00\x00"))) == [
        ("stdout", b"2026-01-01T00:00:01.000000000Z", b"whole")
    ]


def test_a_terminals_long_line_loses_the_times_in_its_middle() -> None:
    stamp = b"2026-01-01T00:00:01.000000000Z "
    sent = Sent(stamp + b"x" * logs.PIECE + stamp + b"y" * logs.PIECE + stamp + b"z\r\n" + stamp + b"next\r\n")

    lines = [message for _, _, message in logs.terminal_lines(sent)]

    assert lines == [b"x" * logs.PIECE + b"y" * logs.PIECE + b"z", b"next"]


# names that become paths


@pytest.mark.parametrize(
    "text", ["", "svc_short", "svc_ABCDEFGH12345678", "svc_abcdefgh1234567/", SERVICE + "\n", None, 7]
)
def test_what_is_no_service_id_becomes_no_folder(text: Any) -> None:
    with pytest.raises(Refused):
        places.service_id(text)


@pytest.mark.parametrize(
    "text", ["job_abcdefgh12345678/..", "../job", "job_abcdefgh12345678.", "job_abcdefgh12345678.a/b"]
)
def test_what_is_no_job_name_becomes_no_folder(text: str) -> None:
    with pytest.raises(Refused):
        places.job_name(text)


def test_a_job_may_be_named_by_kind_and_attempt() -> None:
    assert places.job_name("job_abcdefgh12345678.up.2") == "job_abcdefgh12345678.up.2"


# fences


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hold(service: str, number: int, held: Any, release: Any) -> None:
    with fence.fenced(service, number):
        held.set()
        release.wait(10)


def test_an_equal_or_newer_fence_passes_and_an_older_one_is_refused(home: Path) -> None:
    for number in (5, 5, 9):
        with fence.fenced(SERVICE, number):
            pass

    with pytest.raises(Refused) as refusal, fence.fenced(SERVICE, 8):
        pass
    assert (refusal.value.error, refusal.value.details) == ("StaleFence", {"fence": 8, "newest": 9})


def test_a_service_at_work_is_waited_for_and_then_said_to_be_busy(home: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    held, release = fork.Event(), fork.Event()
    other = fork.Process(target=hold, args=(SERVICE, 5, held, release))
    other.start()
    assert held.wait(20)

    with pytest.raises(Refused) as refusal, fence.fenced(SERVICE, 6, wait_s=0.1):
        pass
    release.set()
    other.join()

    assert refusal.value.error == "Conflict"
    with fence.fenced(SERVICE, 6):
        pass


# the edge


def settings(**changes: Any) -> dict[str, Any]:
    asked = {"image": "caddy:2", "http_port": 80, "https_port": 443, "tls": "off", "email": None}
    return {**asked, **changes}


def write_route(service: str, *hosts: str) -> None:
    upstream = {"network": service, "alias": service, "port": 8000}
    places.write(f"{places.ROUTES}/{service}.json", json.dumps({"hosts": hosts, "upstream": upstream}))


@pytest.mark.parametrize("tls", ["off", "acme"])
def test_caddy_takes_the_configuration(home: Path, tls: str) -> None:
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed here")
    places.write(caddy.SETTINGS, json.dumps(settings(tls=tls, email="ops@example.com")))
    write_route(SERVICE, "app.example.com", "www.example.com")

    # only the storage's place differs: where the container has a folder of its own
    text = caddy.write().replace(caddy.INSIDE, str(home))
    (home / "here.json").write_text(text)
    done = subprocess.run(
        [program, "validate", "--config", "here.json"],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(home)},
    )

    assert done.returncode == 0, done.stderr


def test_with_tls_the_plain_port_only_redirects(home: Path) -> None:
    places.write(caddy.SETTINGS, json.dumps(settings(tls="acme")))
    write_route(SERVICE, "app.example.com")

    servers = json.loads(caddy.write())["apps"]["http"]["servers"]

    assert servers["web"]["listen"] == [":443"]
    assert servers["plain"]["routes"][0]["handle"][0]["status_code"] == 308
    assert servers["plain"]["routes"][-1]["handle"][0]["status_code"] == 404


@pytest.mark.parametrize(
    "name", ["App.example.com", "a b", "", "x/y", "-a.example.com.", "*", "a..b", "x" * 260, "{env.HOME}"]
)
def test_what_is_nohost_name_is_not_routed(name: str) -> None:
    with pytest.raises(Refused):
        routes.host_name(name)


@pytest.mark.parametrize("name", ["app.localhost", "my-app.example.com", "a.b", "x1"])
def test_ahost_name_is_routed(name: str) -> None:
    assert routes.host_name(name) == name


# small things


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("nginx", "docker.io"),
        ("louislam/uptime-kuma:1", "docker.io"),
        ("ghcr.io/a/b@sha256:00", "ghcr.io"),
        ("localhost/a", "localhost"),
        ("registry.lab:5000/a:1", "registry.lab:5000"),
    ],
)
def test_an_images_registry_is_read_from_its_name(reference: str, registry: str) -> None:
    assert pull.registry_of(reference) == registry


@pytest.mark.parametrize(
    ("reference", "server"),
    [("app:1", "https://index.docker.io/v1/"), ("registry.lab:5000/app:1", "registry.lab:5000")],
)
def test_a_login_is_sent_for_its_registry_alone_and_named_as_docker_login_does(reference: str, server: str) -> None:
    logins = {name: {"username": "ann", "password": name} for name in ("docker.io", "registry.lab:5000")}

    (sent,) = pull._credentials(reference, logins).values()

    assert json.loads(base64.urlsafe_b64decode(sent)) == {
        "username": "ann",
        "password": pull.registry_of(reference),
        "serveraddress": server,
    }
    assert pull._credentials("ghcr.io/app:1", logins) == {}


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000000000000", "::"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_of_the_kernels_tables_are_read(raw: str, address: str) -> None:
    assert preflight.dotted(raw) == address


def test_calls_made_together_answer_in_order_and_the_first_error_is_raised() -> None:
    assert together(lambda: 1, lambda: 2, lambda: 3) == [1, 2, 3]
    assert together() == []
    with pytest.raises(ZeroDivisionError):
        together(lambda: 1, lambda: 1 // 0)


def test_old_jobs_and_kits_go_and_what_still_runs_or_is_young_stays(home: Path) -> None:
    for name in ("jobs/old", "jobs/running", "jobs/young", "kit-000000000000", "new-kit-broken", "kit-111111111111"):
        (home / places.HOME / name).mkdir(parents=True)
    for name in ("jobs/old", "jobs/running", "kit-000000000000", "new-kit-broken"):
        os.utime(home / places.HOME / name, (1, 1))

    prune({f"{places.JOBS}/running"})

    left = sorted(str(folder.relative_to(home / places.HOME)) for folder in (home / places.HOME).rglob("*"))
    assert left == ["jobs", "jobs/running", "jobs/young", "kit-111111111111"]


def test_old_things_are_looked_for_once_an_hour(home: Path) -> None:
    assert prune_is_due()
    assert not prune_is_due()
    written = (home / PRUNED).stat().st_mtime
    for age in (EVERY_S, -EVERY_S):  # a clock that was put back is no reason to wait
        os.utime(home / PRUNED, (written - age, written - age))

        assert prune_is_due()
        assert not prune_is_due()


def test_cpu_is_what_was_used_between_two_samples() -> None:
    first = {"at": 10**9, "cpu": 5 * 10**8, "memory": 1}
    last = {"at": 3 * 10**9, "cpu": 15 * 10**8, "memory": 7}

    assert measure.used(first, last) == {"cpu": 0.5, "memory": 7}
    assert measure.used(last, last)["cpu"] is None


def test_too_short_a_time_since_its_start_tells_nothing_of_a_containers_cpu() -> None:
    started, now = {"at": 0, "cpu": 0, "memory": 0}, {"at": 100_000_000, "cpu": 300_000_000, "memory": 7}

    assert measure.used(started, now, measure.SHORTEST_SINCE_START_NS) == {"cpu": None, "memory": 7}


@pytest.mark.parametrize(("asked", "tail"), [({}, 100), ({"tail": None}, 100), ({"tail": 0}, 0), ({"tail": 7}, 7)])
def test_no_lines_asked_for_are_no_lines(asked: dict[str, Any], tail: int) -> None:
    assert logs._tail(asked) == tail


def test_our_own_cgroup_is_readable() -> None:
    sample = cgroups.sample(os.getpid())

    assert sample is None or (sample["cpu"] >= 0 and sample["memory"] >= 0)
    assert cgroups.sample(2**22 + 1) is None


@pytest.mark.parametrize(
    ("there", "incomplete"),
    [(["web", "web", "db"], False), (["web", "db"], True), (["web", "web"], True), ([], True)],
)
def test_a_start_makes_anew_what_is_missing_of_several_containers_too(
    monkeypatch: pytest.MonkeyPatch, there: list[str], incomplete: bool
) -> None:
    rows = [{"Labels": {"com.docker.compose.service": name}} for name in there]
    monkeypatch.setattr(engine, "get", lambda *_, **__: rows)
    project = {"services": {"web": {"deploy": {"replicas": 2}}, "db": {}}}

    assert lifecycle._incomplete(SERVICE, project) is incomplete


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
def test_what_to_do_is_said_where_the_files_of_a_release_are_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Refused, match=f"release 3 of {SERVICE} is not on this host; redeploy it") as caught:
        lifecycle.lifecycle({"service": SERVICE, "release": 3, "fence": 1, "action": action})

    assert caught.value.error == "CommandFailed"


@pytest.mark.parametrize(
    ("running", "restarting", "up_s"), [(True, False, 90.0), (False, False, None), (True, True, None)]
)
def test_how_long_a_container_is_up_is_told_of_one_that_runs(
    running: bool, restarting: bool, up_s: float | None
) -> None:
    started = clock.rfc3339(time.time() - 90)

    told = observe._up_s({"Running": running, "Restarting": restarting, "StartedAt": started})

    assert told == (up_s and pytest.approx(up_s, abs=5))
