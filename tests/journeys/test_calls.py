"""The calls that a customer copies from the documentation, typed as they stand there, and what they are answered."""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infra.local import images
from tests.journeys.conftest import DockerHost, publish
from tests.journeys.plane import Client, Plane
from tests.lab.hosts import Lab

# Our demo under a public image's name, holding a few megabytes: less would be measured and rounded to nothing.
_HOLDING = 'CMD ["sh","-c","held=$(head -c 8000000 /dev/zero | tr [:cntrl:] x); . /app/start"]'
UPTIME_KUMA = replace(images.DEMO, reference="louislam/uptime-kuma:1", changes=("ENV PORT=3001", _HOLDING))
MYAPP = replace(images.DEMO, reference="myapp:latest")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass
class Terminal:
    """Somebody with the page open: each call by its heading, typed into curl with the stand-ins replaced."""

    instead: dict[str, str]
    calls: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        page = Path(__file__).with_name("calls.md").read_text()
        self.calls = dict(re.findall(r"^## ([^\n]+)\n\n```sh\n(.+?)```$", page, re.MULTILINE | re.DOTALL))

    def type(self, heading: str) -> tuple[int, Any]:
        """The status, and the body if there is one."""
        line = self.calls.pop(heading)
        for stand_in, real in self.instead.items():
            line = line.replace(stand_in, real)
        quiet = shlex.join(["--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"])
        shell = ["sh", "-c", f"{line.rstrip()} {quiet}"]
        printed = subprocess.run(shell, capture_output=True, text=True, check=True, timeout=60).stdout
        body, _, status = printed.rpartition("\n")
        return int(status), json.loads(body) if body else None


def test_every_call_of_the_page_is_answered_as_the_page_says(
    admin: Client, plane: Plane, hosts: tuple[DockerHost, DockerHost], lab: Lab
) -> None:
    for recipe in (UPTIME_KUMA, MYAPP):
        publish(lab, hosts[1], recipe)
    terminal = Terminal({
        "https://panel.example.com": plane.api,
        "aap_k1_...": plane.token,
        "cust_def456": plane.customer_id,
    })  # fmt: skip

    status, created = terminal.type("Create from a template")
    assert status == 201
    admin.made.append(created["id"])
    assert _shape(created) >= {"id": "svc_", "name": "my-app", "status": "deploying"}.items()
    assert created["url"] == "http://my-app.localhost"
    assert re.fullmatch(r"job_[a-z0-9]{16}", created["deploy_job_id"])
    status, custom = terminal.type("Create from a compose text")
    assert (status, custom["name"], custom["status"]) == (201, "custom-app", "deploying")
    admin.made.append(custom["id"])
    for later in ("Create from a repository", "Create by planning"):
        status, begun = terminal.type(later)
        assert (status, begun["status"]) == (201, "deploying")
        admin.made.append(begun["id"])
        # Nothing of the internet is reached from here; what the job says of it is told, and nothing is left running.
        assert admin.failed(begun["deploy_job_id"])["error"]["step"] == "Source"
    admin.succeeded(created["deploy_job_id"])
    admin.succeeded(custom["deploy_job_id"])
    terminal.instead["svc_abc123"] = created["id"]
    home = next(host for host in hosts if host.ps(created["id"]))
    assert "Hello from demo" in home.visit(created["url"]).text

    status, service = terminal.type("Get")
    assert status == 200
    _is_a_running_service(service, plane)
    status, listed = terminal.type("List")
    assert status == 200
    assert (listed["total"], listed["page"], listed["per_page"]) == (2, 1, 10)
    _is_a_row(next(row for row in listed["data"] if row["id"] == created["id"]), plane)

    _, told = terminal.type("Logs")
    assert {entry["stream"] for entry in told["logs"]} == {"stdout", "stderr"}
    assert "demo listens on port 3001" in [entry["message"] for entry in told["logs"]]
    assert all(TIME.fullmatch(entry["timestamp"]) for entry in told["logs"])

    assert terminal.type("Stop") == (200, _state(created["id"], "stopped", "Service stopped"))
    assert home.ps(created["id"]) == []
    assert terminal.type("Start") == (200, _state(created["id"], "running", "Service started"))
    (container,) = home.ps(created["id"])
    began = home.inspect(container, "{{.State.StartedAt}}")
    assert terminal.type("Restart") == (200, _state(created["id"], "running", "Service restarted"))
    assert home.inspect(container, "{{.State.StartedAt}}") > began

    status, again = terminal.type("Redeploy")
    assert (status, again["id"], again["status"]) == (200, created["id"], "deploying")
    assert any(step["name"] == "Pull" for step in admin.succeeded(again["deploy_job_id"])["steps"])
    status, events = terminal.type("Events")
    assert status == 200
    timeline = [(event["type"], event["status"], event["message"]) for event in events["data"]]
    assert ("deploy", "success", "Deployed from template uptime-kuma") in timeline
    assert ("health", "healthy", "Health check passed") in timeline
    assert ("lifecycle", "stopped", "Service stopped") in timeline
    assert all(TIME.fullmatch(event["timestamp"]) for event in events["data"])
    assert terminal.type("Delete") == (204, None)
    assert terminal.calls == {}, "the page has calls that nobody typed"


def _state(service_id: str, status: str, message: str) -> dict[str, str]:
    return {"id": service_id, "status": status, "message": message}


def _shape(created: dict[str, Any]) -> set[tuple[str, Any]]:
    return {("id", created["id"][:4]), ("name", created["name"]), ("status", created["status"])}


def _is_a_row(row: dict[str, Any], plane: Plane) -> None:
    assert {name: row[name] for name in ("name", "status", "url", "customer_id", "template", "deploy_method")} == {
        "name": "my-app",
        "status": "running",
        "url": "http://my-app.localhost",
        "customer_id": plane.customer_id,
        "template": "uptime-kuma",
        "deploy_method": "template",
    }
    assert TIME.fullmatch(row["created_at"])
    assert TIME.fullmatch(row["updated_at"])
    assert isinstance(row["resources"]["cpu_usage"], (int, float))
    assert row["resources"]["memory_usage_mb"] > 0
    assert row["resources"]["memory_limit_mb"] == 512


def _is_a_running_service(service: dict[str, Any], plane: Plane) -> None:
    _is_a_row(service, plane)
    assert service["customer_name"] == "Local customer"
    assert "image: louislam/uptime-kuma:1" in service["compose"]
    assert service["variables"] == {"SERVICE_NAME": "my-app"}
    assert service["custom_domains"] == []
    assert service["resources"]["cpu_limit"] == 1.0
    assert isinstance(service["resources"]["storage_mb"], int)
    assert (service["health"]["status"], service["health"]["consecutive_failures"]) == ("healthy", 0)
    assert TIME.fullmatch(service["health"]["last_check"])
    assert TIME.fullmatch(service["deployed_at"])
