"""The kit's verbs on a real Docker host: what they answer, and what `docker` then says is there."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from chalicelib.commands import kit
from chalicelib.domain.errors import CommandFailed, HostNotReady, HostUnreachable, StaleFence
from chalicelib.domain.words import new_id
from chalicelib.hostkit import preflight
from chalicelib.ssh import RemoteHost, connected
from tests.hostkit.conftest import EDGE_PORT, IMAGE, INSTALLATION, POOL, Deployed, address, eventually
from tests.lab.hosts import LabHost

pytestmark = pytest.mark.lab


def names(host: LabHost, kind: str, service: str) -> list[str]:
    every = ("--all",) if kind == "container" else ()
    return host.docker(kind, "ls", "--quiet", *every, "--filter", f"label=slipway.service={service}").split()


def through_the_edge(remote: RemoteHost, host: str, path: str = "/") -> int | None:
    return remote.http_status("127.0.0.1", EDGE_PORT, path, host, 10)


# what the host is


def test_a_sound_host_has_no_problems_and_says_what_it_is(lab_host: LabHost, remote: RemoteHost) -> None:
    answer = remote.kit(kit.check(installation=INSTALLATION, pool=POOL, min_disk_mb=100), 20)

    assert answer["problems"] == []
    assert answer["kit_version"] == kit.kit_version()
    assert answer["api"] >= "1.41"
    assert answer["engine_id"]
    assert answer["hostname"] == lab_host.name
    assert int(answer["compose"].split(".")[0]) >= 2
    assert 0 < answer["disk_free_mb"] <= answer["disk_total_mb"]
    assert 0 < answer["pool_free"] <= 4096


def test_each_missing_thing_is_a_problem_not_an_error(lab_host: LabHost, remote: RemoteHost) -> None:
    lab_host.kill_dockerd()

    answer = remote.kit(kit.check(installation=INSTALLATION, pool=POOL, min_disk_mb=100), 20)

    assert [problem["check"] for problem in answer["problems"]] == ["docker"]
    assert answer["docker"] is None


def test_a_full_disk_is_a_problem_before_anything_is_touched(lab_host: LabHost, service: Deployed) -> None:
    lab_host.fill(leave_mb=40)

    asked = kit.preflight(service.id, installation=INSTALLATION, ports=[], min_disk_mb=512, pool=POOL, networks=1)
    answer = service.remote.kit(asked, 20)

    assert [problem["check"] for problem in answer["problems"]] == ["disk"]
    assert answer["disk_free_mb"] <= 40


def test_the_engines_folder_is_told_by_the_edge_or_by_itself(
    lab_host: LabHost, remote: RemoteHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", lab_host.docker_words[2])
    told = lab_host.docker("info", "--format", "{{.DockerRootDir}}")

    assert preflight.data_root() == told
    lab_host.docker("rm", "--force", "slipway-edge")
    assert preflight.data_root() == told


def test_taken_ports_are_found_and_the_services_own_are_not(lab_host: LabHost, service: Deployed) -> None:
    service.deploy(service.document(ports=["8099:8000"]))
    ports = [kit.Port(ip="", port=number, protocol="tcp") for number in (22, 8099, EDGE_PORT, 8100)]

    own = service.remote.kit(
        kit.preflight(service.id, installation=INSTALLATION, ports=ports, min_disk_mb=1, pool=POOL, networks=1), 20
    )
    other = service.remote.kit(
        kit.preflight(new_id("svc"), installation=INSTALLATION, ports=ports, min_disk_mb=1, pool=POOL, networks=1), 20
    )

    assert [problem["message"] for problem in own["problems"]] == [
        "host port 22/tcp is already taken by a program on the host",
        f"host port {EDGE_PORT}/tcp is already taken by container slipway-edge",
    ]
    assert "host port 8099/tcp is already taken by another service" in [
        problem["message"] for problem in other["problems"]
    ]
    assert len(other["problems"]) == 3


def test_a_pool_without_room_is_a_problem(service: Deployed) -> None:
    asked = kit.preflight(
        service.id, installation=INSTALLATION, ports=[], min_disk_mb=1, pool="10.202.0.0/28", networks=2
    )

    assert [problem["check"] for problem in service.remote.kit(asked, 20)["problems"]] == ["pool"]


# a release comes up


def test_upload_says_what_compose_resolves_and_which_images_are_missing(lab_host: LabHost, service: Deployed) -> None:
    answer = service.upload(images=[IMAGE, "nobody/has-this:1"])

    assert answer["resolved"]["services"]["web"]["image"] == IMAGE
    assert answer["missing_images"] == ["nobody/has-this:1"]
    assert names(lab_host, "network", service.id) != []
    assert names(lab_host, "container", service.id) == []


def test_compose_is_started_once_for_documents_that_are_alike(lab_host: LabHost, service: Deployed) -> None:
    other = Deployed(service.remote)
    kit_folder = f"/home/{lab_host.user}/.slipway/kit-{kit.kit_version()}"
    lab_host.exec("rm", "-rf", f"{kit_folder}/resolved")
    first = service.upload()["resolved"]
    (kept,) = lab_host.exec("find", f"{kit_folder}/resolved", "-type", "f").split()
    written = lab_host.exec("stat", "--format=%a %y", kept)

    second = other.upload(release=2)["resolved"]

    assert written.startswith("600 ")
    assert lab_host.exec("stat", "--format=%a %y", kept) == written
    assert json.loads(json.dumps(first).replace(service.id, other.id)) == second
    lab_host.exec("sed", "--in-place", "s/ipam/ipan/", kept)
    assert other.upload(release=3)["resolved"] == second
    assert lab_host.exec("stat", "--format=%a %y", kept) != written
    other.remove()


def test_a_release_is_only_readable_by_its_user(lab_host: LabHost, service: Deployed) -> None:
    service.upload()

    path = f"/home/{lab_host.user}/.slipway/services/{service.id}/releases/1/compose.json"
    assert lab_host.exec("stat", "--format=%a", path).strip() == "600"
    folders = [path.rsplit("/", up)[0] for up in range(1, 5)]
    assert set(lab_host.exec("stat", "--format=%a", *folders).split()) == {"700"}


def test_services_get_small_networks_of_their_own(lab_host: LabHost, service: Deployed) -> None:
    other = Deployed(service.remote)
    service.upload()
    other.upload()

    found = json.loads(lab_host.docker("network", "inspect", service.id, other.id))
    subnets = [network["IPAM"]["Config"][0]["Subnet"] for network in found]

    assert len(set(subnets)) == 2
    assert all(subnet.startswith("10.201.") and subnet.endswith("/28") for subnet in subnets)
    other.remove()


def test_services_uploaded_at_once_get_different_networks(lab_host: LabHost, remote: RemoteHost) -> None:
    several = [Deployed(remote) for _ in range(8)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(Deployed.upload, several))

    found = json.loads(lab_host.docker("network", "inspect", *(one.id for one in several)))
    assert len({network["IPAM"]["Config"][0]["Subnet"] for network in found}) == 8
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(Deployed.remove, several))
    assert not any(any(answer["left"].values()) for answer in answers)


def test_what_compose_refuses_is_a_failed_command_with_its_reason(service: Deployed) -> None:
    with pytest.raises(CommandFailed, match="nosuchkey"):
        service.upload(service.document(nosuchkey=1))


def test_up_starts_the_release_and_observe_sees_it(service: Deployed) -> None:
    service.deploy(service.document(cpus=0.5, mem_limit="64m", restart="unless-stopped"))

    probe = {service.id: kit.Probe(service="web", port=8000)}
    seen = service.observe(window_ms=100, storage=True, probe=probe)
    container = seen["containers"][0]

    assert (container["service"], container["state"], container["health"]) == ("web", "running", "none")
    assert (container["cpu_limit"], container["memory_limit_mb"]) == (0.5, 64)
    assert container["restart_policy"] == "unless-stopped"
    assert container["ips"][service.id].startswith("10.201.")
    assert container["cpu_usage"] >= 0
    assert container["memory_usage_mb"] > 0
    assert container["release"] == "1"
    assert seen["storage_mb"] is not None
    assert seen["probe"]["ok"]


def test_a_probe_says_why_it_failed(service: Deployed) -> None:
    service.deploy()

    closed = service.observe(probe={service.id: kit.Probe(service="web", port=9)})["probe"]
    absent = service.observe(probe={service.id: kit.Probe(service="db", port=9)})["probe"]

    assert closed == {"ok": False, "message": "nothing listens on port 9 of web"}
    assert absent == {"ok": False, "message": "db is not running"}


def test_an_unknown_service_has_nothing(remote: RemoteHost) -> None:
    unknown = new_id("svc")

    answer = remote.kit(kit.observe([unknown]), 20)

    assert answer["services"] == {unknown: {"containers": [], "storage_mb": None, "probe": None}}


def test_an_image_that_is_not_there_fails_the_job_with_composes_words(service: Deployed) -> None:
    service.upload(service.document(image="nobody/has-this:1"))

    answer = service.up()

    assert (answer["state"], answer["rc"]) == ("done", 1)
    assert "nobody/has-this:1" in answer["output"]


def test_an_older_release_comes_back_with_the_images_it_had(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    image = service.observe()["containers"][0]["image_id"]
    service.deploy(service.document("sleep", "60"), release=2)

    answer = service.up(release=1, images={"web": image})

    assert (answer["rc"], service.observe()["containers"][0]["image_id"]) == (0, image)
    assert service.observe(probe={service.id: kit.Probe(service="web", port=8000)})["probe"]["ok"]


def test_a_pull_that_cannot_be_done_says_which_image(service: Deployed) -> None:
    job = f"{new_id('job')}.pull.1"

    answer = service.remote.kit(
        kit.start_pull(service.id, 1, job=job, release=1, images=["registry.lab:5999/nobody:1"]), 60
    )

    assert (answer["state"], answer["rc"]) == ("done", 1)
    assert "error: registry.lab:5999/nobody:1:" in answer["output"]


def test_an_image_is_pulled_from_a_registry(lab_host: LabHost, lab: Any, service: Deployed) -> None:
    reference = lab.registry_push(lab_host, IMAGE, "library/pulled:7")
    job = f"{new_id('job')}.pull.1"

    answer = service.remote.kit(kit.start_pull(service.id, 1, job=job, release=1, images=[reference]), 60)

    assert (answer["state"], answer["rc"]) == ("done", 0), answer["output"]
    assert service.upload(images=[reference])["missing_images"] == []
    lab_host.docker("rmi", reference)


# jobs


def slow(service: Deployed) -> dict[str, Any]:
    """A release that takes long to come up: the second container waits for a health check that does not come."""
    document = service.document("sleep", "600", healthcheck={"test": ["CMD", "false"], "interval": "30s", "retries": 9})
    late = {**document["services"]["web"], "depends_on": {"web": {"condition": "service_healthy"}}}
    document["services"]["late"] = late
    return document


def test_a_job_is_started_once_whoever_asks_again(service: Deployed) -> None:
    service.upload(slow(service))
    job = f"{new_id('job')}.up.1"

    first = service.up(job=job, wait_s=0)
    second = service.up(job=job, wait_s=0)

    assert first["state"] == second["state"] == "running"
    assert first["started_at"] == second["started_at"]
    assert service.remote.kit(kit.cancel(job), 20)["state"] == "done"


def test_a_cancelled_job_leaves_no_process(lab_host: LabHost, service: Deployed) -> None:
    service.upload(slow(service))
    job = f"{new_id('job')}.up.1"
    service.up(job=job, wait_s=0)
    eventually(lambda: service.observe()["containers"])

    answer = service.remote.kit(kit.cancel(job), 20)

    assert (answer["state"], answer["rc"]) == ("done", 143)
    assert lab_host.run("pgrep", "-f", f"project-name {service.id}").stdout == b""


def test_compose_runs_in_a_clean_environment_and_little_memory(lab_host: LabHost, service: Deployed) -> None:
    service.upload(slow(service))
    job = f"{new_id('job')}.up.1"
    service.up(job=job, wait_s=0)
    search = ("pgrep", "-f", f"project-name {service.id}")
    pid = eventually(lambda: lab_host.run(*search).stdout.decode().split())[0]

    environment = lab_host.exec("cat", f"/proc/{pid}/environ").rstrip("\0").split("\0")
    limits = lab_host.exec("cat", f"/proc/{pid}/limits").splitlines()

    assert {word.split("=")[0] for word in environment} <= {"PATH", "HOME", "DOCKER_HOST", "GOGC", "GOMEMLIMIT"}
    assert any(line.startswith("Max address space") and line.split()[3] == str(2 << 30) for line in limits)
    service.remote.kit(kit.cancel(job), 20)


def test_a_job_outlives_the_connection_that_started_it(lab_host: LabHost, service: Deployed) -> None:
    document = service.document(healthcheck={"test": ["CMD", "true"], "interval": "1s"})
    document["services"]["late"] = {
        **document["services"]["web"],
        "depends_on": {"web": {"condition": "service_healthy"}},
    }
    service.upload(document)
    job = f"{new_id('job')}.up.1"
    service.up(job=job, wait_s=0)

    service.remote.close()
    service.remote = connected(address(lab_host))

    answer = service.remote.kit(kit.job(job, wait_s=20), 30)
    assert (answer["state"], answer["rc"]) == ("done", 0)


def test_a_runner_that_was_killed_is_lost_and_its_lock_is_kept_until_compose_ended(
    lab_host: LabHost, service: Deployed
) -> None:
    service.upload(slow(service))
    job = f"{new_id('job')}.up.1"
    service.up(job=job, wait_s=0)
    folder = f"/home/{lab_host.user}/.slipway/jobs/{job}"
    eventually(lambda: lab_host.run("pgrep", "-f", f"project-name {service.id}").stdout)
    pid = lab_host.exec("cat", f"{folder}/pid").split()[0]

    lab_host.exec("kill", "-KILL", pid)

    assert service.remote.kit(kit.job(job, wait_s=5), 20)["state"] == "lost"
    lock = f"/home/{lab_host.user}/.slipway/services/{service.id}.lock"
    assert lab_host.run("flock", "--nonblock", lock, "true").returncode == 1
    service.remote.kit(kit.cancel(job), 20)
    assert lab_host.run("flock", "--nonblock", lock, "true").returncode == 0
    assert lab_host.run("pgrep", "-f", f"project-name {service.id}").stdout == b""


def test_a_job_of_a_host_that_lost_power_is_lost(lab_host: LabHost, service: Deployed) -> None:
    service.upload(slow(service))
    job = f"{new_id('job')}.up.1"
    service.up(job=job, wait_s=0)
    eventually(lambda: service.remote.kit(kit.job(job, wait_s=0), 20)["state"] == "running")
    time.sleep(0.3)  # the runner's first lines reach the disk; there is nothing to ask for that

    lab_host.crash()
    lab_host.boot()
    service.remote = connected(address(lab_host))

    eventually(lambda: service.remote.kit(kit.job(job, wait_s=0), 20)["state"] in ("lost", "none"), 20)


def test_a_job_nobody_started_is_none(remote: RemoteHost) -> None:
    assert remote.kit(kit.job(f"{new_id('job')}.up.1", wait_s=0), 10)["state"] == "none"


# fences


def test_a_late_command_is_refused_whatever_it_wants(service: Deployed) -> None:
    service.fence = 200
    service.deploy()
    service.fence = 100

    late: tuple[Callable[[], object], ...] = (
        service.upload,
        service.up,
        service.remove,
        partial(service.route, "late.localhost"),
        partial(service.remote.kit, kit.lifecycle(service.id, 100, "stop", release=1), 20),
        partial(service.remote.kit, kit.unroute(service.id, 100), 20),
    )
    for command in late:
        with pytest.raises(StaleFence):
            command()

    assert service.observe()["containers"][0]["state"] == "running"


def test_a_command_is_refused_even_after_its_service_was_removed(service: Deployed) -> None:
    service.fence = 300
    service.deploy()
    service.remove()
    service.fence = 299

    with pytest.raises(StaleFence):
        service.upload()


# start, stop, restart


def test_stop_start_and_restart_answer_with_what_is_seen(service: Deployed) -> None:
    service.deploy()

    def state(action: Any) -> tuple[str, str]:
        seen = service.remote.kit(kit.lifecycle(service.id, service.fence, action, release=1), 40)
        return seen["containers"][0]["state"], seen["containers"][0]["started_at"]

    stopped, _ = state("stop")
    started, first = state("start")
    restarted, second = state("restart")

    assert (stopped, started, restarted) == ("exited", "running", "running")
    assert second > first


def test_start_brings_back_containers_somebody_removed(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    lab_host.docker("rm", "--force", *names(lab_host, "container", service.id))

    seen = service.remote.kit(kit.lifecycle(service.id, service.fence, "start", release=1), 40)

    assert seen["containers"][0]["state"] == "running"


def test_what_a_start_misses_of_the_files_the_next_deploy_puts_there(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    lab_host.docker("rm", "--force", *names(lab_host, "container", service.id))
    lab_host.exec("rm", "-r", f"/home/{lab_host.user}/.slipway/services/{service.id}")

    with pytest.raises(CommandFailed, match=f"release 1 of {service.id} is not on this host; redeploy it"):
        service.remote.kit(kit.lifecycle(service.id, service.fence, "start", release=1), 40)
    service.deploy(release=2)
    lab_host.docker("rm", "--force", *names(lab_host, "container", service.id))
    seen = service.remote.kit(kit.lifecycle(service.id, service.fence, "start", release=2), 40)

    assert seen["containers"][0]["state"] == "running"


def test_volumes_that_somebody_removed_are_named_where_they_are_made_anew(lab_host: LabHost, service: Deployed) -> None:
    document = service.document(volumes=["data:/data", "kept:/kept"])
    document["volumes"] = {key: {"labels": {"slipway.service": service.id}} for key in ("data", "kept")}

    def start() -> Any:
        return service.remote.kit(kit.lifecycle(service.id, service.fence, "start", release=1), 40)["made_volumes"]

    first = service.upload(document)["missing_volumes"]
    service.up()
    untouched = start()
    lab_host.docker("rm", "--force", *names(lab_host, "container", service.id))
    lab_host.docker("volume", "rm", f"{service.id}_data")
    again = service.upload(document)["missing_volumes"]

    assert (first, untouched, again) == (["data", "kept"], [], ["data"])
    assert (start(), start()) == (["data"], [])
    assert service.upload(document)["missing_volumes"] == []


# logs


def test_the_logs_of_all_containers_come_as_one_in_order(service: Deployed) -> None:
    talk = "for i in 1 2 3; do echo $$0 out $$i; sleep 0.05; echo $$0 err $$i >&2; sleep 0.05; done; sleep 60"
    document = service.document("sh", "-c", talk, "web")
    document["services"]["worker"] = {**document["services"]["web"], "command": ["sh", "-c", talk, "worker"]}
    service.deploy(document)

    answer = eventually(lambda: (found := service.logs())["entries"][11:] and found)
    stamps = [entry["timestamp"] for entry in answer["entries"]]
    mine = [entry for entry in answer["entries"] if entry["container"] == "web"]

    assert len(answer["entries"]) == 12
    assert stamps == sorted(stamps)
    assert [(entry["stream"], entry["message"]) for entry in mine[:2]] == [
        ("stdout", "web out 1"),
        ("stderr", "web err 1"),
    ]
    assert [entry["message"] for entry in service.logs(tail=1)["entries"]] == [answer["entries"][-1]["message"]]
    later = service.logs(since=stamps[6])["entries"]
    assert [entry["timestamp"] for entry in later] == stamps[6:]


@pytest.mark.parametrize("tty", [False, True])
def test_a_line_longer_than_the_engines_pieces_is_one_line(service: Deployed, tty: bool) -> None:
    long = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo after; sleep 60"
    service.deploy(service.document("sh", "-c", long, tty=tty))

    entries = eventually(lambda: (found := service.logs()["entries"])[1:] and found)

    assert [entry["message"] for entry in entries] == ["x" * 40000, "after"]
    assert {entry["stream"] for entry in entries} == {"stdout"}


def test_logs_of_a_stopped_container_are_still_there(service: Deployed) -> None:
    service.deploy(service.document("sh", "-c", "echo the last words; exit 3"))
    eventually(lambda: service.observe()["containers"][0]["state"] == "exited")

    assert [entry["message"] for entry in service.logs()["entries"]] == ["the last words"]
    assert service.observe()["containers"][0]["exit_code"] == 3


def test_more_logs_than_asked_for_are_cut_at_the_old_end(service: Deployed) -> None:
    service.deploy(service.document("sh", "-c", "seq 1 500 | sed s/^/line/; sleep 60"))
    eventually(lambda: service.logs(tail=500)["entries"][499:])

    answer = service.logs(tail=400, limit_bytes=1000)

    assert answer["truncated"]
    assert answer["entries"][-1]["message"] == "line500"
    assert sum(len(entry["message"]) for entry in answer["entries"]) <= 1000


# the edge


def test_a_routed_service_answers_at_its_name_and_no_other(service: Deployed) -> None:
    service.deploy()

    assert service.route("app.localhost") == {"changed": True, "answers": 200}
    assert service.route("app.localhost") == {"changed": False, "answers": 200}
    assert through_the_edge(service.remote, "app.localhost") == 200
    assert through_the_edge(service.remote, "other.localhost") == 404


def test_an_unknown_name_gets_our_error_shape(lab_host: LabHost, remote: RemoteHost) -> None:
    program = (
        "import urllib.request as u, urllib.error as e\n"
        f"try: u.urlopen(u.Request('http://127.0.0.1:{EDGE_PORT}/', headers={{'Host': 'x.localhost'}}))\n"
        "except e.HTTPError as error: print(error.read().decode())"
    )
    body = lab_host.exec("python3", "-c", program)

    error = json.loads(body)["error"]
    assert (error["code"], error["details"]) == ("not_found", None)
    assert len(error["request_id"]) == 36


def test_an_unrouted_name_is_nobodys(service: Deployed) -> None:
    service.deploy()
    service.route("gone.localhost")

    assert service.remote.kit(kit.unroute(service.id, service.fence), 20) == {"changed": True}
    assert service.remote.kit(kit.unroute(service.id, service.fence), 20) == {"changed": False}
    assert through_the_edge(service.remote, "gone.localhost") == 404


def test_a_name_moves_to_the_service_that_asked_last(service: Deployed) -> None:
    other = Deployed(service.remote)
    service.deploy()
    other.deploy()
    service.route("moved.localhost")

    other.route("moved.localhost")

    other.remove()
    assert through_the_edge(service.remote, "moved.localhost") == 404


def test_tenants_do_not_reach_each_other_by_the_network(lab_host: LabHost, service: Deployed) -> None:
    other = Deployed(service.remote)
    service.deploy()
    other.deploy()
    service.route("one.localhost")
    other.route("two.localhost")
    own, others = (one.observe()["containers"][0]["ips"][one.id] for one in (service, other))

    def reached(ip: str) -> bool:
        words = ("docker", "exec", f"{service.id}-web-1", "nc", "-w", "1", ip, "8000")
        return lab_host.run(*words).returncode == 0

    assert reached(own)
    assert not reached(others)
    other.remove()


def test_routes_survive_a_restart_of_the_edge(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    service.route("kept.localhost")

    lab_host.docker("restart", "--time", "2", "slipway-edge")

    eventually(lambda: through_the_edge(service.remote, "kept.localhost") == 200)
    assert service.route("again.localhost")["answers"] == 200


def test_an_edge_made_anew_is_plugged_into_every_routed_service(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    service.route("anew.localhost")
    lab_host.docker("rm", "--force", "slipway-edge")
    edge = kit.edge(installation=INSTALLATION, image="slipway/caddy:local", http_port=EDGE_PORT, pool=POOL)

    with pytest.raises(HostNotReady, match="edge"):
        service.upload(release=2)

    assert service.remote.kit(edge, 60) == {"state": "running", "created": True}
    assert service.remote.kit(edge, 60) == {"state": "running", "created": False}
    eventually(lambda: through_the_edge(service.remote, "anew.localhost") == 200)


def test_a_host_of_another_installation_is_let_alone_until_that_one_is_gone(
    remote: RemoteHost, lab_host: LabHost
) -> None:
    edge = lab_host.docker("inspect", "--format", "{{.Id}}", "slipway-edge")
    checking = kit.check(installation="ins_another", pool=POOL, min_disk_mb=100)
    taking = kit.edge(installation="ins_another", image="slipway/caddy:local", http_port=EDGE_PORT, pool=POOL)

    (problem,) = remote.kit(checking, 20)["problems"]
    with pytest.raises(HostNotReady, match=INSTALLATION):
        remote.kit(taking, 60)

    asked = kit.preflight(new_id("svc"), installation="ins_another", ports=[], min_disk_mb=1, pool=POOL, networks=1)
    (why,) = remote.kit(asked, 20)["problems"]
    with pytest.raises(HostNotReady, match=INSTALLATION):
        remote.kit(kit.leave(installation="ins_another"), 20)

    assert problem["check"] == why["check"] == "other_installation"
    assert INSTALLATION in problem["message"]
    assert serving(remote, INSTALLATION)
    assert not serving(remote, "ins_another")
    assert lab_host.docker("inspect", "--format", "{{.Id}}", "slipway-edge") == edge
    assert remote.kit(kit.inventory(), 20)["installation"] == INSTALLATION

    lab_host.docker("rm", "--force", "slipway-edge")  # as the message says
    assert remote.kit(kit.inventory(), 20)["installation"] is None
    assert remote.kit(checking, 20)["problems"] == []
    assert remote.kit(taking, 60)["created"]
    assert remote.kit(kit.inventory(), 20)["installation"] == "ins_another"

    assert remote.kit(kit.leave(installation="ins_another"), 20) == {}
    assert remote.kit(kit.leave(installation="ins_another"), 20) == {}  # again: nothing is there any more
    assert lab_host.docker("ps", "--all", "--quiet", "--filter", "label=slipway.edge") == ""
    assert lab_host.docker("network", "ls", "--quiet", "--filter", "label=slipway.edge") == ""
    kept = lab_host.exec("ls", f"/home/{lab_host.user}/.slipway").split()
    assert "edge" not in kept
    assert "agent" not in kept


def test_an_edge_that_was_stopped_does_not_serve(remote: RemoteHost, lab_host: LabHost) -> None:
    assert serving(remote, INSTALLATION)
    lab_host.docker("stop", "--time", "1", "slipway-edge")

    assert not serving(remote, INSTALLATION)
    edge = kit.edge(installation=INSTALLATION, image="slipway/caddy:local", http_port=EDGE_PORT, pool=POOL)
    assert remote.kit(edge, 60) == {"state": "running", "created": False}
    assert serving(remote, INSTALLATION)


def serving(remote: RemoteHost, installation: str) -> bool:
    return bool(remote.kit(kit.observe([], installation=installation), 20)["edge_serves"])


def test_a_missing_edge_image_is_named(remote: RemoteHost) -> None:
    with pytest.raises(HostNotReady, match="nobody/edge:9"):
        remote.kit(kit.edge(installation=INSTALLATION, image="nobody/edge:9", http_port=EDGE_PORT, pool=POOL), 60)


def test_a_redeploy_is_waited_for_by_the_edge(service: Deployed) -> None:
    service.deploy()
    service.route("busy.localhost")

    service.upload(
        service.document("sh", "-c", "sleep 0.5; " + "mkdir -p /www; exec httpd -f -p 8000 -h /www"), release=2
    )
    service.up(2)

    assert through_the_edge(service.remote, "busy.localhost") in (200, 404)  # 404: the second has no page; never 502


# removal


def test_removal_leaves_nothing_labelled_and_may_be_repeated(lab_host: LabHost, service: Deployed) -> None:
    document = service.document(volumes=["data:/data", "/anonymous"])
    document["volumes"] = {"data": {"labels": {"slipway.service": service.id}}}
    service.deploy(document)
    service.route("bye.localhost")

    first, second = service.remove(), service.remove()

    nothing = {"containers": [], "volumes": [], "networks": [], "images": [], "files": [], "route": False}
    assert first == second == {"left": nothing}
    for kind in ("container", "volume", "network"):
        assert names(lab_host, kind, service.id) == []
    assert service.id not in lab_host.docker("volume", "ls")
    assert through_the_edge(service.remote, "bye.localhost") == 404
    kept = lab_host.exec("ls", f"/home/{lab_host.user}/.slipway/services").split()
    assert [name for name in kept if name.startswith(service.id)] == [f"{service.id}.lock"]


def test_removal_ends_a_job_at_work(service: Deployed) -> None:
    service.upload(slow(service))
    service.up(wait_s=0)

    assert not any(service.remove()["left"].values())


def test_removal_says_what_it_could_not_remove(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    folder = f"/home/{lab_host.user}/.slipway/services/{service.id}/releases"
    lab_host.exec("mkdir", "-p", f"{folder}/1/roots")
    lab_host.exec("touch", f"{folder}/1/roots/file")

    left = service.remove()["left"]

    assert left["files"] == [f".slipway/services/{service.id}"]
    lab_host.exec("rm", "-rf", folder)


# the link


def test_a_cut_cable_is_noticed_and_the_connection_replaced(lab_host: LabHost, service: Deployed) -> None:
    service.deploy()
    lab_host.cut()
    began = time.monotonic()

    with pytest.raises(HostUnreachable):
        service.remote.kit(kit.job(f"{new_id('job')}.up.1", wait_s=0), 60)

    assert time.monotonic() - began < 30
    lab_host.heal()
    service.remote = connected(address(lab_host))
    assert service.observe()["containers"][0]["state"] == "running"


def test_an_engine_that_was_killed_is_not_ready(lab_host: LabHost, service: Deployed) -> None:
    lab_host.kill_dockerd()

    with pytest.raises(HostNotReady, match="Docker"):
        service.upload()
