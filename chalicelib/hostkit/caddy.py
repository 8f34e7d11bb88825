"""Caddy's configuration: built whole from the route files, loaded whole through its administration socket.

`caddy.json` is what Caddy reads when it starts; `loaded.json` is what it was last given while running. They differ only
between a write and a load that failed, and then the next load tries again.
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import places, plain_http
from .refusals import Refused

INSIDE = "/slipway"  # where the edge's folder is in its container
CONFIG = places.EDGE + "/caddy.json"
LOADED = places.EDGE + "/loaded.json"
SETTINGS = places.EDGE + "/settings.json"
ADMIN = places.EDGE + "/run/admin.sock"
WEB = places.EDGE + "/run/web.sock"
LOAD_S = 10.0
OK = 200


def write() -> str:
    """Build the configuration from what is on disk and leave it where Caddy starts from."""
    text = json.dumps(_configuration(_settings(), routes()), indent=1, sort_keys=True)
    if text != places.read(CONFIG):
        places.write(CONFIG, text)
    return text


def load(force: bool = False) -> bool:
    """Give it to the running Caddy, unless it has it. Whether it had to."""
    text = write()
    if not force and text == places.read(LOADED):
        return False
    try:
        status, body = plain_http.exchange(ADMIN, "POST", "/load", "", text.encode(), LOAD_S)
    except OSError as error:
        raise Refused("HostNotReady", "the edge proxy does not answer; check the host to bring it back") from error
    if status != OK:
        raise Refused(
            "CommandFailed", f"the edge proxy refused its configuration: {body.decode('utf-8', 'replace')[:500]}"
        )
    places.write(LOADED, text)
    return True


def answers() -> bool:
    return plain_http.status(ADMIN, "/config/admin", "", 1.0) == OK


def status_through(host: str, path: str, timeout: float) -> int | None:
    """What a visitor of this host name gets. With TLS on, by a socket of the edge that skips only the TLS."""
    settings = _settings()
    if settings["tls"] == "off":
        return plain_http.status(("127.0.0.1", settings["http_port"]), path, host, timeout)
    return plain_http.status(WEB, path, host, timeout)


def routes() -> dict[str, dict[str, Any]]:
    """The route files, by service."""
    names = os.listdir(places.ROUTES) if os.path.isdir(places.ROUTES) else []
    found = (
        (name[: -len(".json")], places.read_json(f"{places.ROUTES}/{name}")) for name in names if name.endswith(".json")
    )
    return {service: route for service, route in sorted(found) if route}


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] | None = places.read_json(SETTINGS)
    if settings is None:
        raise Refused("HostNotReady", "the edge proxy was never set up on this host; check the host first")
    return settings


def _configuration(settings: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    web = [*(_routed(route) for route in known.values()), _nobody()]
    plain = {"automatic_https": {"disable": True}}
    servers: dict[str, Any] = {"web": {"listen": [":80"], "routes": web, **plain}}
    apps: dict[str, Any] = {"http": {"servers": servers}}
    if settings["tls"] != "off":
        hosts = sorted(host for route in known.values() for host in route["hosts"])
        servers["web"] = {"listen": [":443"], "routes": web, "automatic_https": {"disable_redirects": True}}
        servers["plain"] = {"listen": [":80"], "routes": [*_redirected(hosts), _nobody()], **plain}
        servers["inside"] = {"listen": [f"unix/{INSIDE}/run/web.sock"], "routes": web, **plain}
        issuer = {"module": "acme", **({"email": settings["email"]} if settings["email"] else {})}
        apps["tls"] = {"automation": {"policies": [{"issuers": [issuer]}]}}
    return {
        "admin": {"listen": f"unix/{INSIDE}/run/admin.sock", "config": {"persist": False}},
        "storage": {"module": "file_system", "root": INSIDE + "/data"},
        "apps": apps,
    }


def _routed(route: dict[str, Any]) -> dict[str, Any]:
    upstream = route["upstream"]
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{upstream['alias']}:{upstream['port']}"}],
        "transport": {"protocol": "http", "dial_timeout": "1s"},
        # A redeploy stops the old container before the new one listens: visitors wait instead of getting a 502.
        "load_balancing": {"try_duration": "5s", "try_interval": "50ms"},
    }
    return {"match": [{"host": sorted(route["hosts"])}], "handle": [proxy], "terminal": True}


def _redirected(hosts: list[str]) -> list[dict[str, Any]]:
    if not hosts:
        return []
    location = {"Location": ["https://{http.request.host}{http.request.uri}"]}
    answer = {"handler": "static_response", "status_code": 308, "headers": location}
    return [{"match": [{"host": hosts}], "handle": [answer], "terminal": True}]


def _nobody() -> dict[str, Any]:
    error = {"code": "not_found", "message": "No service answers at this host name.", "details": None}
    body = json.dumps({"error": {**error, "request_id": "{http.request.uuid}"}})
    headers = {"Content-Type": ["application/json"]}
    return {"handle": [{"handler": "static_response", "status_code": 404, "headers": headers, "body": body}]}
