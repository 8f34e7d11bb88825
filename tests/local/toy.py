"""A small app with sockets: what it does, its query parameters and messages say.

Chalice wraps socket handlers only where an app itself registers them; a Blueprint's get the event as Lambda has it.

`seen` has every event its handlers got; `posting` is how it answers, set by whoever serves it.
"""

import json
import queue
import threading
from typing import Any

from chalice import Blueprint, Chalice

seen: "queue.SimpleQueue[dict[str, Any]]" = queue.SimpleQueue()
release = threading.Event()
api: dict[str, Any] = {}

routes = Blueprint(__name__)


@routes.on_ws_connect()
def connect(event: dict[str, Any], context: Any) -> Any:
    seen.put(event)
    query = event["queryStringParameters"]
    connection_id = event["requestContext"]["connectionId"]
    if "raise" in query:
        raise RuntimeError("as it was told")
    if "wait" in query:
        api["early"] = post(connection_id, "too early")
        release.wait(10)
    if "status" in query:
        body = {"body": query["body"]} if "body" in query else {}
        return {"statusCode": int(query["status"]), **body}
    if "odd" in query:
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "ours"}}
    return {"statusCode": 200}


@routes.on_ws_message()
def message(event: dict[str, Any], context: Any) -> Any:
    connection_id = event["requestContext"]["connectionId"]
    if event["isBase64Encoded"]:
        post(connection_id, event["body"])
        return {"statusCode": 200}
    wanted = json.loads(event["body"])
    if "wait" in wanted:
        release.wait(10)
    post(connection_id, event["body"])
    return {"statusCode": 200}


@routes.on_ws_disconnect()
def disconnect(event: dict[str, Any], context: Any) -> Any:
    seen.put(event)
    return {"statusCode": 200}


def post(connection_id: str, text: str | bytes) -> str:
    """Say it to a connection; the name of the error where it is refused."""
    client = api["client"]
    try:
        client.post_to_connection(ConnectionId=connection_id, Data=text)
    except client.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "posted"


def made() -> Chalice:
    app = Chalice("toy", configure_logs=False)
    app.experimental_feature_flags.update(["BLUEPRINTS", "WEBSOCKETS"])
    app.register_blueprint(routes)
    return app
