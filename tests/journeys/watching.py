"""A client that follows over a WebSocket, as anybody's would: it comes back with the last entry's cursor."""

import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

_PAUSE_S = 0.1
Entry = dict[str, Any]


class Watcher:
    """Collects entries in a thread of its own until it is left. `entries` are all that came, in order."""

    def __init__(self, base: str, path: str, token: str, **parameters: Any) -> None:
        self._base, self._path, self._token = base, path, token
        self._parameters = {"follow": "true", **parameters}
        self._cursor: str | None = None
        self._over = threading.Event()
        self._open: ClientConnection | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.entries: list[Entry] = []
        self.connections = 0
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._open is not None:
            self._open.close()
        self._thread.join(20)

    def messages(self) -> list[str]:
        """What containers wrote: without our own system entries."""
        return [entry["message"] for entry in tuple(self.entries) if entry["stream"] != "system"]

    def system(self) -> list[Entry]:
        return [entry for entry in tuple(self.entries) if entry["stream"] == "system"]

    def await_(self, look: Callable[["Watcher"], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not look(self):
            assert time.monotonic() < deadline, (
                f"not within {seconds:g} s: {what}; {len(self.entries)} entries, the last {self.entries[-2:]}; "
                f"{self.connections} connections, refused: {self.refused[-2:]}"
            )
            time.sleep(0.05)

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                with self._connected() as connection:
                    self._open = connection
                    self.connections += 1
                    for text in connection:
                        self._take(json.loads(text))
            except (ConnectionClosed, OSError, EOFError):
                pass
            except InvalidHandshake as error:
                self.refused.append(str(error))
            self._over.wait(_PAUSE_S)

    def _connected(self) -> ClientConnection:
        asked = dict(self._parameters)
        if self._cursor is not None:
            asked = {name: value for name, value in asked.items() if name not in ("tail", "since")}
            asked["cursor"] = self._cursor
        return connect(
            f"{self._base}{self._path}?{urlencode(asked)}",
            additional_headers={"Authorization": f"Bearer {self._token}"},
            proxy=None,
            open_timeout=10,
            close_timeout=1,
            max_size=1 << 20,
        )

    def _take(self, message: Any) -> None:
        entries = message if isinstance(message, list) else [message]
        self.entries += entries
        if entries and entries[-1].get("cursor"):
            self._cursor = entries[-1]["cursor"]
