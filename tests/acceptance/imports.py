"""The one call of `chalice deploy` that the emulator does not carry out: importing an API's description, paths and all.

It stands where boto3 looks for API Gateway (`AWS_ENDPOINT_URL_API_GATEWAY`). An import becomes the calls that make each
resource, method and integration of the very document that Chalice sent; everything else is passed on as it came, or
refused from some call on, as if whoever deploys were cut off there.
"""

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Imports:
    def __init__(self, emulator: str, client: Any) -> None:
        self._cut = _Cut()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(emulator, client, self._cut))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def cut(self, at: str | None) -> None:
        """Refuse the first call whose "METHOD /path?query" begins as `at` says, and all after it; None: no more."""
        self._cut.at, self._cut.reached = at, False

    def was_cut(self) -> bool:
        return self._cut.reached

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Cut:
    at: str | None = None
    reached = False

    def refuses(self, call: str) -> bool:
        self.reached = self.reached or (self.at is not None and re.match(self.at, call) is not None)
        return self.reached


def _handler(emulator: str, client: Any, cut: _Cut) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            path = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            words = path.path.strip("/").split("/")
            if cut.refuses(f"{self.command} {self.path}"):
                self._say(403, b'{"message": "cut off"}', more={"x-amzn-errortype": "ForbiddenException"})
            elif self.command == "POST" and words == ["restapis"] and "mode=import" in path.query:
                self._say(201, _made(client, json.loads(body)))
            elif self.command == "PUT" and len(words) == 2 and words[0] == "restapis":
                self._say(200, _replaced(client, words[1], json.loads(body)))
            else:
                self._pass_on(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815  http.server looks for these

        def _pass_on(self, body: bytes) -> None:
            headers = dict(self.headers.items())  # its own host too, which is signed
            request = urllib.request.Request(
                f"{emulator}{self.path}", data=body or None, headers=headers, method=self.command
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    self._say(answer.status, answer.read(), answer.headers.get("Content-Type"))
            except urllib.error.HTTPError as error:
                with error:
                    self._say(error.code, error.read(), error.headers.get("Content-Type"), error.headers)

        def _say(self, status: int, body: bytes, kind: str | None = "application/json", more: Any = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(body)))
            if more and more.get("x-amzn-errortype"):
                self.send_header("x-amzn-errortype", more["x-amzn-errortype"])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            """Not on the tests' output."""

    return Handler


def _made(client: Any, document: dict[str, Any]) -> bytes:
    api = client.create_rest_api(
        name=document["info"]["title"],
        endpointConfiguration={"types": ["REGIONAL"]},
        binaryMediaTypes=document["x-amazon-apigateway-binary-media-types"],
    )
    _describe(client, api["id"], document)
    return json.dumps({"id": api["id"], "name": api["name"]}).encode()


def _replaced(client: Any, api_id: str, document: dict[str, Any]) -> bytes:
    for resource in client.get_resources(restApiId=api_id, limit=500)["items"]:
        if resource["path"].count("/") == 1 and resource["path"] != "/":
            client.delete_resource(restApiId=api_id, resourceId=resource["id"])
    _describe(client, api_id, document)
    return json.dumps({"id": api_id}).encode()


def _describe(client: Any, api_id: str, document: dict[str, Any]) -> None:
    (root,) = [each["id"] for each in client.get_resources(restApiId=api_id)["items"] if each["path"] == "/"]
    made = {"": root}
    for path, methods in sorted(document["paths"].items()):
        at = ""
        for word in path.strip("/").split("/"):
            parent, at = made[at], f"{at}/{word}"
            if at not in made:
                made[at] = client.create_resource(restApiId=api_id, parentId=parent, pathPart=word)["id"]
        for method, described in methods.items():
            _method(client, {"restApiId": api_id, "resourceId": made[at], "httpMethod": method.upper()}, described)


def _method(client: Any, where: dict[str, str], described: dict[str, Any]) -> None:
    integration = described["x-amazon-apigateway-integration"]
    client.put_method(**where, authorizationType="NONE")
    more = {"uri": integration["uri"], "integrationHttpMethod": "POST"} if "uri" in integration else {}
    client.put_integration(
        **where, type=integration["type"].upper(), requestTemplates=integration.get("requestTemplates", {}), **more
    )
    for status, answer in integration.get("responses", {}).items() if not more else ():
        code = answer.get("statusCode", status)
        headers = answer.get("responseParameters", {})
        client.put_method_response(
            **where, statusCode=code, responseParameters=dict.fromkeys((name for name in headers), False)
        )
        client.put_integration_response(**where, statusCode=code, responseParameters=headers)
