"""Deploys on real Docker hosts: what is asked for runs, answers and is told apart from its neighbours."""

from tests.journeys.conftest import DockerHost, register
from tests.journeys.plane import Client, Plane, eventually

DEMO = """\
services:
  web:
    image: slipway/demo:1
    environment:
      SERVICE_NAME: ${GREETING:-demo}
    volumes: [data:/data]
    expose: ["8000"]
volumes:
  data: {}
"""
SHOP = """\
services:
  web:
    image: busybox:1
    depends_on:
      db: {condition: service_healthy}
    command:
      - sh
      - -c
      - mkdir /www && wget -q -O /www/index.html http://db:8000/greeting && exec httpd -f -p 8080 -h /www
    networks: [public, inner]
    stop_signal: SIGKILL
    ports: ["8080"]
  db:
    image: busybox:1
    command: ["sh", "-c", "test -e /data/greeting || echo hello from the database >/data/greeting; exec httpd -f -p 8000 -h /data"]
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1:8000/greeting, interval: 1s, timeout: 2s, retries: 10}
    volumes: ["rows:/data"]
    networks: [inner]
    stop_signal: SIGKILL
networks:
  public: {}
  inner: {internal: true}
volumes:
  rows: {}
"""


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


def test_a_web_service_waits_for_its_database_on_a_network_of_their_own(admin: Client, host: DockerHost) -> None:
    made = admin.create("shop", SHOP, host_id=host.id)
    admin.succeeded(made["deploy_job_id"])

    assert host.visit(made["url"]).text == "hello from the database\n"
    service = admin.get(f"services/{made['id']}")
    assert (service["status"], service["health"]["status"]) == ("running", "healthy")
    assert "web" in host.inspect(host.container(made["id"], "web"), "{{.Config.Labels}}")
    inner = host.lab.docker("network", "inspect", "--format={{.Internal}}", *_networks(host, made["id"]))
    assert sorted(inner.split()) == ["false", "true"]


def _networks(host: DockerHost, service_id: str) -> list[str]:
    return host.lab.docker("network", "ls", "--quiet", f"--filter=label=slipway.service={service_id}").split()
