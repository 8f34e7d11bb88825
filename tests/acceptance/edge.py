"""CloudFront's part before the emulated APIs: one address for REST and sockets, by the rules of infra/edge.yaml.

What a socket is for is told by the very function of that template, run by node. Each request has a connection of its
own to the emulator; an upgrade keeps it, and from then on bytes go both ways as they come.
"""

import asyncio
import contextlib
import fnmatch
import json
import mimetypes
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from infra.deploy.edge import PAGE
from tests.architecture.test_templates import template

_HEAD_LIMIT = 65536
EDGE_KEY = "what the API knows this edge by, in these tests"


@dataclass(frozen=True)
class _Head:
    line: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Edge:
    """Listens on one port of each address until left."""

    def __init__(self, emulator: str, client: Any, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        """`client`: of a service of the emulator, by name."""
        self._emulator = urlsplit(emulator)
        self._client = client
        self._ids: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._listen(addresses))
        self.port = int(self._server[0].sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self, addresses: Sequence[str]) -> list[asyncio.Server]:
        first, *others = addresses
        servers = [await asyncio.start_server(self._serve, first, 0, limit=_HEAD_LIMIT)]
        port = servers[0].sockets[0].getsockname()[1]
        servers += [await asyncio.start_server(self._serve, each, port, limit=_HEAD_LIMIT) for each in others]
        return servers

    async def _end(self) -> None:
        for server in self._server:
            server.close()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = _parsed(await reader.readuntil(b"\r\n\r\n"))
            await self._pass_on(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _pass_on(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.line.split(" ", 2)
        if not target.startswith("/api/"):
            writer.write(_page(urlsplit(target).path))
            await writer.drain()
            return
        upgrade = (head.get("upgrade") or "").lower() == "websocket"
        origin, target = await self._routed(target, upgrade=upgrade)
        if not origin:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection(self._emulator.hostname, self._emulator.port)
        try:
            kept = {"host", "connection"} if not upgrade else {"host"}
            lines = [f"{method} {target} HTTP/1.1", f"Host: {origin}.execute-api.localhost:{self._emulator.port}"]
            said = head.get("x-forwarded-for")
            caller = writer.get_extra_info("peername")[0]
            kept |= {"x-forwarded-for", *(name.lower() for name in _ORIGIN_HEADERS)}
            lines += [f"{name}: {value}" for name, value in head.headers if name.lower() not in kept]
            lines += [f"X-Forwarded-For: {said}, {caller}" if said else f"X-Forwarded-For: {caller}"]
            if not upgrade:
                lines += [*(f"{name}: {value}" for name, value in _ORIGIN_HEADERS.items()), "Connection: close"]
            back.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            if upgrade:
                await _both_ways((reader, writer), (there, back))
            else:
                back.write(await reader.readexactly(int(head.get("content-length") or 0)))
                await back.drain()
                await _one_way(there, writer)
        finally:
            back.close()

    async def _routed(self, target: str, *, upgrade: bool) -> tuple[str, str]:
        """The API and what it is asked; no API for what is refused."""
        parts = urlsplit(target)
        if any(fnmatch.fnmatch(parts.path, pattern) for pattern in _SOCKET_PATHS):
            query = {name: {"value": value} for name, value in parse_qsl(parts.query)}
            headers = {"sec-websocket-key": {"value": "x"}} if upgrade else {}
            told = await _function({"uri": parts.path, "headers": headers, "querystring": query})
            if "statusCode" in told["made"]:
                return "", ""
            if told["origin"] is None:
                asked = {name: value["value"] for name, value in told["made"]["querystring"].items()}
                return await self._id("sockets"), f"{told['made']['uri']}?{urlencode(asked)}"
        return await self._id("rest"), f"/prod{target}"

    async def _id(self, kind: str) -> str:
        if kind not in self._ids:
            self._ids[kind] = await asyncio.to_thread(self._found, kind)
        return self._ids[kind]

    def _found(self, kind: str) -> str:
        if kind == "rest":
            (api,) = self._client("apigateway").get_rest_apis()["items"]
            return str(api["id"])
        sockets = [
            api for api in self._client("apigatewayv2").get_apis()["Items"] if api["ProtocolType"] == "WEBSOCKET"
        ]
        return str(sockets[0]["ApiId"])


def _page(path: str) -> bytes:
    """A file of the log page, as the bucket of pages has it."""
    file = PAGE / (path.strip("/") or "index.html")
    if PAGE not in file.resolve().parents or not file.is_file():
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    kind, body = mimetypes.guess_type(file.name)[0], file.read_bytes()
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _distribution() -> Any:
    return template("edge")["Resources"]["Distribution"]["Properties"]["DistributionConfig"]


def _socket_paths() -> list[str]:
    return [each["Fn::If"][1]["PathPattern"] for each in _distribution()["CacheBehaviors"] if "Fn::If" in each]


def _origin_headers() -> dict[str, str]:
    """What the template has CloudFront send to REST, whatever the caller says."""
    (rest,) = [each for each in _distribution()["Origins"] if each.get("Id") == "rest"]
    values = {"EdgeKey": EDGE_KEY}
    return {each["HeaderName"]: values[each["HeaderValue"]["Ref"]] for each in rest["OriginCustomHeaders"]}


_SOCKET_PATHS = _socket_paths()
_ORIGIN_HEADERS = _origin_headers()


async def _function(request: dict[str, Any]) -> Any:
    code: str = template("edge")["Resources"]["Sockets"]["Properties"]["FunctionCode"]["Fn::Sub"]
    code = code.replace("${Stage}", "prod").replace(
        "import cf from 'cloudfront';", "var origin = null; var cf = {selectRequestOriginById: (id) => {origin = id}};"
    )
    program = f"{code}\nconst made = handler({json.dumps({'request': request})});"
    program += "console.log(JSON.stringify({made, origin}));"
    node = shutil.which("node")
    assert node, "the edge's function is run by node: apt-get install nodejs"
    done = await asyncio.create_subprocess_exec(node, "-e", program, stdout=asyncio.subprocess.PIPE)
    output, _ = await done.communicate()
    return json.loads(output)


def _parsed(raw: bytes) -> _Head:
    line, *headers = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (header.partition(":") for header in headers)
    return _Head(line, [(name, value.strip()) for name, _, value in pairs])


async def _one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()


async def _both_ways(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    ways = [asyncio.ensure_future(_one_way(one[0], other[1])), asyncio.ensure_future(_one_way(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
