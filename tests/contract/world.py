"""A panel with two customers that have the same things, for tests that go through every route."""

import itertools
from typing import Any

from chalicelib.deploy import drafting, pushes, start
from chalicelib.deploy.placing import Wish
from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.git import Repository
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Caller
from chalicelib.domain.registry import Registry, id_of
from chalicelib.domain.service import Event
from chalicelib.domain.words import new_id, now
from tests.emulator import Panel

COMPOSE = "services:\n  app:\n    image: myapp:latest\n    ports: ['8080:80']\n"
TEMPLATE = {
    "id": "own",
    "name": "Own",
    "compose": "services:\n  web:\n    image: demo:1\n",
    "expose": {"service": "web", "port": 8000},
}
ORPHAN = "svc_0000000000000000"


class Estate:
    """One customer's things: a service that runs its second release, a service that is busy, and their jobs."""

    def __init__(self, panel: Panel, name: str, host_id: str) -> None:
        self.customer_id = panel.a_customer(f"{name} Inc").id
        self._panel, self._host_id = panel, host_id
        self._name = name
        self.service_id, self.job_id = self.a_running_service()
        _, self.busy_job_id = self.a_service()
        self.repository_service_id, job_id = self.a_service(deploy_method="git", compose="", repository=_REPOSITORY)
        _finish(panel, panel.jobs.get(job_id))

    def webhook_secret(self) -> str:
        """A new one; an earlier one ends."""
        return pushes.new_secret(self._panel.services.get(self.repository_service_id))

    def a_running_service(self) -> tuple[str, str]:
        """A service whose first deploy and redeploy went well, and the first of these jobs."""
        service_id, job_id = self.a_service()
        _finish(self._panel, self._panel.jobs.get(job_id))
        again = start.redeploy(self._panel.services.get(service_id), _ADMIN)
        _finish(self._panel, again)
        return service_id, job_id

    def a_service(self, **more: Any) -> tuple[str, str]:
        """A service that is being deployed, and its job."""
        given: dict[str, Any] = {
            "name": fresh(self._name),
            "customer_id": self.customer_id,
            "deploy_method": "compose",
            "compose": COMPOSE,
            "variables": {},
            "wish": Wish(self._host_id, {}),
            **more,
        }
        wanted = drafting.NewService(**given)
        service, job = start.create(drafting.draft(wanted, _ADMIN), _ADMIN)
        return service.id, job.id


def fresh(word: str) -> str:
    """A name that nothing has yet."""
    return f"{word}-{next(_numbers)}"


class World:
    """`own` and `foreign` estates on one host, an operator's template, a token and some of the past."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.host_id, self.idle_host_id = panel.a_host().id, panel.a_host("idle").id
        self.own, self.foreign = Estate(panel, "own", self.host_id), Estate(panel, "foreign", self.host_id)
        self.empty_customer_id = panel.a_customer("Empty").id
        panel.a_token("viewer", self.own.customer_id)
        self.registry_id = self.a_registry("registry.example.com")
        self.token_id = panel.tokens.all()[0].id
        panel.audit.begin(_an_entry())
        panel.host_calls.answers |= {
            "reconcile": {"corrected": []},
            "lifecycle": self._lifecycle,
            "logs": {"entries": [_LOG_ENTRY], "truncated": False, "containers": []},
            "check_host": {"status": "ready"},
            "prepare_host": lambda host_id, **_: {
                "public_key": "ssh-ed25519 BBBB",
                "sealed_private_key": panel.sealer.seal(b"key", host_id).hex(),
                "host_key": "ssh-ed25519 AAAA",
            },
            "scan_host": {"host_key": "ssh-ed25519 AAAA"},
            "rotate_key": {"public_key": "ssh-ed25519 BBBB", "left": []},
            "orphans": {"orphans": {ORPHAN: {"volumes": ["data"], "files": ["releases"]}}},
            "sweep": lambda service_ids, **_: {"removed": service_ids, "left": {}},
        }

    def a_registry(self, name: str) -> str:
        """Credentials of our own customer for a registry; the same again if they are there."""
        registry_id = id_of(self.own.customer_id, name)
        if registry_id not in {registry.id for registry in self.panel.registries.all()}:
            self.panel.registries.add(
                Registry(
                    id=registry_id,
                    customer_id=self.own.customer_id,
                    registry=name,
                    username="ci",
                    sealed_password=self.panel.sealer.seal(b"password", registry_id),
                    created_at=now(),
                )
            )
        return registry_id

    def settle(self) -> None:
        """Have every job end well, and give a customer a service again whose own was deleted."""
        for job in list(self.panel.jobs.unfinished()):
            if job.id not in (self.own.busy_job_id, self.foreign.busy_job_id):
                _finish(self.panel, job)
        for estate in (self.own, self.foreign):
            if self.panel.services.find(estate.service_id) is None:
                estate.service_id, estate.job_id = estate.a_running_service()

    def _lifecycle(self, job_id: str) -> dict[str, Any]:
        job = self.panel.jobs.get(job_id)
        _finish(self.panel, job)
        return {"status": "stopped" if job.kind == "stop" else "running", "message": f"Service {job.kind}"}


_REPOSITORY = Repository(url="https://git.example.com/team/app.git", branch="main")
_numbers = itertools.count(1)
_ADMIN = Caller(token_id="tok_0000000000000000", role="admin", customer_id=None)
_LOG_ENTRY = {"timestamp": "2026-11-24T16:24:11.366569896Z", "stream": "stdout", "message": "up", "container": "app"}


def _finish(panel: Panel, job: Job) -> None:
    service = panel.services.find(job.service_id)
    assert service
    ended = start.ended_job(job, "succeeded", "Done")
    if job.kind == "delete":
        panel.services.purge(service, ended)
        return
    event = Event(id=new_id("evt"), type="deploy", status="success", message="Deployed", timestamp=now(), job_id=job.id)
    running: dict[str, Any] = {"status": "stopped" if job.kind == "stop" else "running", "deployed_at": now()}
    if job.release:
        release = panel.services.release(service.id, job.release)
        good = release.model_copy(update={"state": "good", "digests": ("myapp@sha256:9f",)})
        panel.services.finish(service, ended, (event,), good, release=job.release, **running)
    else:
        panel.services.finish(service, ended, (event,), **running)


def _an_entry() -> AuditEntry:
    return AuditEntry(
        id=new_id("aud"),
        at=now(),
        token_id=_ADMIN.token_id,
        token_name="test",
        role="admin",
        method="POST",
        path="/api/services",
        source_ip="203.0.113.7",
        request_id="r",
    )
