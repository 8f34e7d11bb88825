"""A host that answers the kit's verbs as a test tells it to, and notes what was asked."""

import json
from typing import Any

from chalicelib.commands.command import Command
from chalicelib.domain.errors import SlipwayError


def running(service: str = "app", **fields: Any) -> dict[str, Any]:
    """A container as the kit's `observe` shows it."""
    return {
        "id": "c1",
        "name": f"svc-{service}-1",
        "service": service,
        "release": "1",
        "state": "running",
        "health": "none",
        "exit_code": 0,
        "oom_killed": False,
        "restart_count": 0,
        "started_at": "2026-03-29T10:00:00Z",
        "finished_at": None,
        "image": "myapp:latest",
        "image_id": "sha256:1",
        "digests": ["myapp@sha256:d1"],
        "restart_policy": "unless-stopped",
        "ips": {},
        "cpu_usage": 0.1,
        "cpu_limit": 1.0,
        "memory_usage_mb": 10.5,
        "memory_limit_mb": 512,
        **fields,
    }


def resolved(request: dict[str, Any]) -> dict[str, Any]:
    """What Compose makes of an uploaded document, as far as these tests' documents go."""
    document: dict[str, Any] = json.loads(request["compose"])
    document["networks"] = {key: {**network, "ipam": {}} for key, network in document["networks"].items()}
    if "volumes" in document:
        named = {key: {**volume, "name": f"{document['name']}_{key}"} for key, volume in document["volumes"].items()}
        document["volumes"] = named
    return document


# What the kit says of every job beside how it went.
_JOB = {"started_at": "2026-03-29T10:00:00.000Z", "ended_at": None, "truncated": False}


class FakeHost:
    """Stands for `RemoteHost`. `answers[verb]` is a value, an error, or a function of the request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.containers = [running()]
        self.listening = True
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Any] = {
            "preflight": {"disk_free_mb": 9000, "problems": []},
            "upload": lambda request: {"resolved": resolved(request), "missing_images": [], "built_here": []},
            "start": {"state": "done", "rc": 0, "output": ""},
            "cancel": {"state": "done", "rc": 143, "output": ""},
            "logs": {"entries": [{"container": "app", "message": "last words"}], "truncated": False, "containers": []},
            "route": {"changed": True, "answers": 200},
            "unroute": {"changed": False},
            "remove": {"left": {"containers": [], "volumes": [], "networks": [], "files": [], "route": False}},
        }

    def kit(self, command: Command, timeout: float) -> dict[str, Any]:
        verb, request = command.argv[-1], json.loads(command.stdin)
        self.asked.append((verb, request))
        if verb in {"observe", "lifecycle"} and verb not in self.answers:
            return self._seen(verb, request)
        answer = self.answers[verb]
        if isinstance(answer, SlipwayError):
            raise answer
        told = dict(answer(request) if callable(answer) else answer)
        return {**_JOB, **told} if verb in {"start", "job", "cancel"} else told

    def put(self, path: str, data: bytes, timeout: float, mode: int = 0o600) -> None:
        self.files[path] = data

    def forwarding_allowed(self) -> bool:
        return True

    def http_status(self, ip: str, port: int, path: str, host_header: str, timeout: float) -> int | None:
        return 200 if self.listening else None

    def tcp_open(self, ip: str, port: int, timeout: float) -> bool:
        return self.listening

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]

    def _seen(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        services = request["services"] if verb == "observe" else [request["service"]]
        shown = {
            service_id: {
                "containers": [{**one, "ips": {service_id: "10.201.0.2"}} for one in self.containers],
                "storage_mb": None,
                "probe": None,
            }
            for service_id in services
        }
        return shown[request["service"]] if verb == "lifecycle" else {"at": "", "services": shown, "edge_serves": True}


class Counted:
    """A DynamoDB client that keeps the names of the calls it was asked for."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.verbs: list[str] = []

    def __getattr__(self, verb: str) -> Any:
        self.verbs.append(verb)
        return getattr(self._client, verb)
