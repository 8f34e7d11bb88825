"""A panel on paper: two services, one job, and the live-log protocol as a browser meets it.

Lines are kept with their number as cursor, so a follower that comes back gets what it missed, and a test can cut
connections as it likes.
"""

import json
import queue
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from chalice import Blueprint, Chalice, Response

TOKEN = "aap_k1_paper"
SERVICE, OTHER, JOB = "svc_paper", "svc_other", "job_paper"
_BATCH = 100

routes = Blueprint(__name__)


@dataclass
class Panel:
    """All there is; `management` and `websocket` are set by whoever serves it."""

    management: Any = None
    websocket: str = ""
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {SERVICE: [], OTHER: [], JOB: []})
    followers: dict[str, str] = field(default_factory=dict)
    tickets: set[str] = field(default_factory=set)
    starts: list[dict[str, str]] = field(default_factory=list)
    job_status: str = "running"
    refusing: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    asked: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue)

    def write(self, subject: str, *messages: str, stream: str = "stdout", container: str = "web", **more: Any) -> None:
        """Lines, kept and sent to who follows them."""
        with self.lock:
            kept = self.lines[subject]
            fresh = [
                {
                    "timestamp": f"2026-11-24T16:24:{number % 60:02}.123456789Z",
                    "stream": stream,
                    "message": message,
                    "container": container,
                    "cursor": str(number),
                    **more,
                }
                for number, message in enumerate(messages, len(kept) + 1)
            ]
            kept += fresh
            for connection, followed in list(self.followers.items()):
                if followed == subject:
                    self.send(connection, fresh)

    def send(self, connection: str, entries: list[dict[str, Any]]) -> None:
        """In batches, where only the last entry has a cursor."""
        for at in range(0, len(entries), _BATCH):
            batch = entries[at : at + _BATCH]
            bare = [{name: one[name] for name in one if name != "cursor"} for one in batch[:-1]]
            try:
                self.management.post_to_connection(ConnectionId=connection, Data=json.dumps([*bare, batch[-1]]))
            except self.management.exceptions.GoneException:
                self.followers.pop(connection, None)
                return

    def cut(self) -> None:
        """End every connection."""
        with self.lock:
            for connection in list(self.followers):
                self.followers.pop(connection)
                self.management.delete_connection(ConnectionId=connection)

    def job(self) -> dict[str, Any]:
        over = self.job_status != "running"
        step = {"started_at": "2026-11-24T16:24:08.894Z", "message": ""}
        steps = [
            {**step, "name": "Preflight", "status": "succeeded", "ended_at": "2026-11-24T16:24:08.988Z"},
            {
                **step,
                "name": "Pull",
                "status": self.job_status,
                "ended_at": "2026-11-24T16:24:10.394Z" if over else None,
            },
        ]
        message = "Deployed release 1" if over else "Pulling"
        return {
            "id": JOB,
            "kind": "deploy",
            "status": self.job_status,
            "message": message,
            "error": None,
            "steps": steps,
        }

    def end_job(self) -> None:
        self.job_status = "succeeded"
        about = {"id": JOB, "status": "succeeded", "message": "Deployed release 1", "error": None}
        self.write(JOB, "deploy succeeded: Deployed release 1", stream="system", container="", job=about)


panel = Panel()


def _refusal(status: int, code: str, message: str, details: Any = None) -> Response:
    error = {"code": code, "message": message, "details": details, "request_id": "req_paper"}
    return Response({"error": error}, status_code=status, headers={"Content-Type": "application/json"})


def _allowed() -> bool:
    request = routes.current_request
    return not panel.refusing and request.headers.get("authorization") == f"Bearer {TOKEN}"


def _service(service_id: str, name: str) -> dict[str, Any]:
    return {
        "id": service_id,
        "name": name,
        "status": "running",
        "url": f"http://{name}.example.com",
        "health": {"status": "healthy", "message": ""},
    }


def _services() -> list[dict[str, Any]]:
    return [_service(SERVICE, "paper"), _service(OTHER, "<img src=x onerror=alert(1)>")]


@routes.route("/services")
def list_services() -> Any:
    if not _allowed():
        return _refusal(401, "unauthorized", "this token is unknown")
    query: Any = routes.current_request.query_params or {}
    wanted = query.get("search", "")
    panel.asked.put(wanted)
    found = [service for service in _services() if wanted in service["name"]]
    return {"data": found, "total": len(found), "page": 1, "per_page": 100}


@routes.route("/services/{service_id}")
def get_service(service_id: str) -> Any:
    if not _allowed():
        return _refusal(401, "unauthorized", "this token is unknown")
    return next(service for service in _services() if service["id"] == service_id)


@routes.route("/services/{service_id}/events")
def list_events(service_id: str) -> Any:
    events = [{"id": "evt_1", "job_id": None}, {"id": "evt_2", "job_id": JOB}] if service_id == SERVICE else []
    return {"data": events, "total": len(events), "page": 1, "per_page": 20}


@routes.route("/jobs/{job_id}")
def get_job(job_id: str) -> Any:
    return panel.job()


@routes.route("/services/{subject}/logs")
def service_logs(subject: str) -> Any:
    return _upgrade(f"services/{subject}/logs")


@routes.route("/jobs/{subject}/logs")
def job_logs(subject: str) -> Any:
    return _upgrade(f"jobs/{subject}/logs")


def _upgrade(path: str) -> Response:
    if not _allowed():
        return _refusal(401, "unauthorized", "this token is unknown")
    query: Any = routes.current_request.query_params or {}
    ticket = f"ticket{len(panel.starts)}"
    panel.starts.append({"path": path, **{name: query[name] for name in query}})
    panel.tickets.add(ticket)
    asked = urlencode({**{name: query[name] for name in query}, "ticket": ticket})
    details = {"url": f"{panel.websocket}/api/{path}?{asked}"}
    return _refusal(426, "upgrade_required", "live logs come over a WebSocket", details)


@routes.on_ws_connect(name="websocket_connect")
def connect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    query = event["queryStringParameters"]
    if query.get("ticket") not in panel.tickets or query.get("format") != "batch":
        return {"statusCode": 401}
    panel.tickets.remove(query["ticket"])
    connection = event["requestContext"]["connectionId"]
    threading.Thread(target=_begin, args=(connection, query), daemon=True).start()
    return {"statusCode": 200}


def _begin(connection: str, query: dict[str, str]) -> None:
    subject = query.get("service_id") or query["job_id"]
    while True:  # a post may overtake the answer of $connect
        try:
            panel.management.get_connection(ConnectionId=connection)
            break
        except panel.management.exceptions.GoneException:
            continue
    with panel.lock:
        kept = panel.lines[subject]
        start = int(query["cursor"]) if "cursor" in query else max(0, len(kept) - int(query["tail"]))
        panel.send(connection, kept[start:])
        panel.followers[connection] = subject


@routes.on_ws_disconnect(name="websocket_disconnect")
def disconnect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    panel.followers.pop(event["requestContext"]["connectionId"], None)
    return {"statusCode": 200}


def made() -> Chalice:
    app = Chalice("paper", configure_logs=False)
    app.register_blueprint(routes, url_prefix="/api")
    return app
