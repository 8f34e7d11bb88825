"""Deploys on real Docker hosts: what is asked for runs, answers and is told apart from its neighbours."""

from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client
from tests.journeys.texts import DEMO, SHOP


def test_services_on_two_hosts_answer_at_their_urls_and_tenants_cannot_reach_each_other(
    admin: Client, hosts: tuple[DockerHost, DockerHost]
) -> None:
    east, west = hosts
    made = {
        name: admin.create(name, DEMO, variables={"GREETING": name}, host_id=host.id)
        for name, host in (("one", east), ("two", east), ("three", west))
    }
    for service in made.values():
        admin.succeeded(service["deploy_job_id"])

    for name, host in (("one", east), ("two", east), ("three", west)):
        answer = host.visit(made[name]["url"])
        assert (answer.status_code, f"Hello from {name}" in answer.text) == (200, True)
    assert west.visit(made["one"]["url"]).status_code == 404
    one, two = (east.container(made[name]["id"]) for name in ("one", "two"))
    address = east.inspect(two, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}").split()[0]
    probe = ("sh", "-c", f"nc -w 2 {address} 8000 </dev/null && echo reached || echo refused")
    assert east.lab.docker("exec", one, *probe) == "refused"
    assert east.lab.docker("exec", two, *probe) == "reached"


def test_a_web_service_waits_for_its_database_and_deleting_both_leaves_nothing_but_the_job(
    admin: Client, host: DockerHost
) -> None:
    made = admin.create("shop", SHOP, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "hello from the database\n"
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["health"]["status"]) == ("running", "healthy")
    assert len(host.ps(made["id"])) == 2
    inner = host.lab.docker("network", "inspect", "--format={{.Internal}}", *_networks(host, made["id"]))
    assert inner.split().count("true") == 1

    removal = admin.delete(made["id"])
    assert admin.refusal("GET", f"services/{made['id']}")["status"] == 404
    assert admin.succeeded(removal)["kind"] == "delete"
    assert host.held(made["id"]) == []
    assert host.visit(made["url"]).json()["error"]["code"] == "not_found"
    assert admin.get(f"jobs/{made['deploy_job_id']}")["status"] == "succeeded"


def _networks(host: DockerHost, service_id: str) -> list[str]:
    return host.lab.docker("network", "ls", "--quiet", f"--filter=label=slipway.service={service_id}").split()
