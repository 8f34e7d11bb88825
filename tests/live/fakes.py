"""API Gateway's `@connections` for tests of what posts to it: who is there, who is slow, who is gone."""

import json
import threading
from typing import Any

from chalicelib.aws.gateway import Posted


class Gateway:
    """Keeps what was posted to each connection; `state` says what becomes of a post: `sent` unless told otherwise."""

    def __init__(self) -> None:
        self.posted: dict[str, list[str]] = {}
        self.state: dict[str, Posted] = {}
        self.closed: list[str] = []
        self.room: dict[str, int] = {}  # how many more messages a slow one takes
        self._lock = threading.Lock()

    def post(self, connection_id: str, text: str) -> Posted:
        state = self.state.get(connection_id, "sent")
        with self._lock:
            room = self.room.get(connection_id)
            if room is not None:
                if room == 0:
                    return "busy"
                self.room[connection_id] = room - 1
            if state == "sent":
                self.posted.setdefault(connection_id, []).append(text)
        return state

    def close(self, connection_id: str) -> None:
        self.closed.append(connection_id)

    def got(self, connection_id: str) -> list[Any]:
        return [json.loads(text) for text in self.posted.get(connection_id, [])]
