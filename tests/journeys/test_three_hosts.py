"""Three hosts: a bad release, a host cut off and healed, fifty services over all three, and nothing left."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from infra.local import images
from tests.journeys.conftest import DockerHost, publish, ready
from tests.journeys.plane import SETTINGS, Client, Plane, eventually
from tests.journeys.texts import DEMO
from tests.lab.hosts import Lab

pytestmark = pytest.mark.long

FIRST = replace(images.DEMO, reference="team/steady:1")
STEADY = DEMO.replace("slipway/demo:1", FIRST.reference)
# It runs, and its own check never passes.
SICK = STEADY.replace(
    "    volumes:", '    healthcheck: {test: "false", interval: 1s, timeout: 1s, retries: 2}\n    volumes:'
)
MANY = 50
SMALL = {"cpu": 0.1, "memory_mb": 64}


@pytest.fixture(scope="module")
def three(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plane, list[DockerHost]]]:
    """A control plane of their own, and three hosts."""
    hosts = lab.hosts("alder", "birch", "cedar")
    for host in hosts:
        host.mend()
        host.load(images.BUSYBOX, images.EDGE, images.DEMO)
    # a lab host's disk is small, and a third of them all shall have room on each
    settings = {**SETTINGS, "SLIPWAY_DEFAULT_DISK_MB": "64", "SLIPWAY_REQUESTS_PER_MINUTE": "0"}
    addresses = ("127.0.0.1", lab.address)
    with Plane(tmp_path_factory.mktemp("three"), settings, addresses=addresses) as plane:
        yield plane, [ready(plane, host) for host in hosts]


@pytest.fixture
def admin(three: tuple[Plane, list[DockerHost]]) -> Client:
    return three[0].client()


def test_a_bad_release_leaves_the_good_one_and_its_data_and_a_host_cut_off_comes_back(
    admin: Client, three: tuple[Plane, list[DockerHost]], lab: Lab
) -> None:
    _, (home, second, third) = three
    publish(lab, second, FIRST)
    service_id = admin.deploy("steady", STEADY, host_id=home.id)
    url = admin.get(f"services/{service_id}")["url"]
    before, good = home.container(service_id), _releases(admin, service_id)[0]
    home.lab.docker("exec", before, "sh", "-c", "echo kept >/data/note")

    changed = admin.ask("PATCH", f"services/{service_id}", {"compose": SICK})
    job = admin.failed(changed.json()["deploy_job_id"], 90)

    assert (job["error"]["code"], job["error"]["step"]) == ("unhealthy", "Health")
    service = admin.get(f"services/{service_id}")
    assert (service["status"], service["release"], service["compose"]) == ("running", 1, STEADY)
    running = [release for release in _releases(admin, service_id) if release["running"]]
    assert [(one["number"], one["digests"]) for one in running] == [(1, good["digests"])]
    assert good["digests"]
    after = home.container(service_id)
    assert home.inspect(after, "{{.Image}}") in home.lab.docker("images", "--quiet", "--no-trunc", FIRST.reference)
    assert home.lab.docker("exec", after, "cat", "/data/note") == "kept"
    assert home.visit(url).status_code == 200

    home.lab.cut()
    eventually(lambda: _health(admin, service_id) == "unknown", "its health is unknown", 40)
    assert admin.get(f"services/{service_id}")["status"] == "running"
    lost = eventually(lambda: _host_that_is(admin, home.id, "not_ready"), "the host is found to be gone", 80)
    assert [problem["check"] for problem in lost["problems"]] == ["host_unreachable"]
    assert lost["problems"][0]["since"]
    assert not lost["agent"]["connected"]
    elsewhere = [admin.deploy(f"meanwhile-{number}", DEMO, limits=SMALL) for number in range(2)]
    assert {admin.get(f"services/{one}")["host_id"] for one in elsewhere} == {second.id, third.id}

    home.lab.heal()
    assert eventually(lambda: _host_that_is(admin, home.id, "ready"), "the host is ready again", 80)["problems"] == []
    eventually(lambda: _health(admin, service_id) == "healthy", "it is seen healthy")
    eventually(lambda: admin.get(f"hosts/{home.id}")["agent"]["connected"], "its agent is heard of again", 80)
    assert home.container(service_id) == after
    assert home.visit(url).status_code == 200
    _all_deleted(admin, [service_id, *elsewhere])


def test_fifty_services_spread_over_three_hosts_and_go_without_a_trace(
    admin: Client, three: tuple[Plane, list[DockerHost]]
) -> None:
    plane, hosts = three
    with ThreadPoolExecutor(8) as crowd:
        made = list(crowd.map(lambda number: _one_of_many(plane, number), range(MANY)))
    for service in made:
        admin.succeeded(service["deploy_job_id"], 200)

    shown = _all_services(admin)
    assert {row["id"] for row in shown} == {service["id"] for service in made}
    assert {row["status"] for row in shown} == {"running"}
    at = {service["id"]: admin.get(f"services/{service['id']}")["host_id"] for service in made}
    held = Counter(at.values())  # each to the host with the most room, of what was promised when it was looked
    assert set(held) == {host.id for host in hosts}
    assert min(held.values()) >= MANY // 4
    of = {host.id: host for host in hosts}
    for number, service in enumerate(made):
        assert f"Hello from number {number}<" in of[at[service["id"]]].visit(service["url"]).text
    reserved = {host["id"]: host["reserved"]["memory_mb"] for host in admin.get("hosts")["data"]}
    assert reserved == {host_id: 64 * count for host_id, count in held.items()}

    _all_deleted(admin, [service["id"] for service in made])

    assert admin.get("services")["total"] == 0
    assert {host["reserved"]["memory_mb"] for host in admin.get("hosts")["data"]} == {0}
    for host in hosts:
        assert _ours_on(host) == []


def _host_that_is(admin: Client, host_id: str, status: str) -> Any:
    host = admin.get(f"hosts/{host_id}")
    return host if host["status"] == status else None


def _one_of_many(plane: Plane, number: int) -> Any:
    return plane.client().create(f"many-{number}", DEMO, variables={"GREETING": f"number {number}"}, limits=SMALL)


def _releases(admin: Client, service_id: str) -> Any:
    return admin.get(f"services/{service_id}/releases")["data"]


def _health(admin: Client, service_id: str) -> str:
    return str(admin.get(f"services/{service_id}")["health"]["status"])


def _all_services(admin: Client) -> list[Any]:
    rows: list[Any] = []
    while len(rows) < (page := admin.get("services", page=len(rows) // 20 + 1, sort="name"))["total"]:
        rows += page["data"]
    return rows


def _all_deleted(admin: Client, service_ids: list[str]) -> None:
    for removal in [admin.delete(service_id) for service_id in service_ids]:
        admin.succeeded(removal, 200)


def _ours_on(host: DockerHost) -> list[str]:
    """What root finds of Slipway but its kit, its edge, its agent and the locks that refuse what comes too late."""
    found = []
    for kind, every in (("container", ("--all",)), ("volume", ()), ("network", ("--filter", "type=custom"))):
        names = host.lab.docker(kind, "ls", "--format", "{{.Name}}" if kind != "container" else "{{.Names}}", *every)
        found += [f"{kind} {name}" for name in names.split() if name != "slipway-edge"]
    listed = host.lab.exec("sh", "-c", 'cd "$0" && find . -type f', f"/home/{host.lab.user}/.slipway").split()
    kept = ("./kit-", "./edge/", "./agent/")
    found += [path for path in listed if not path.startswith(kept) and not path.endswith(".lock")]
    routes = host.lab.exec("sh", "-c", 'ls "$0"', f"/home/{host.lab.user}/.slipway/edge/routes").split()
    return found + [f"route {name}" for name in routes]
