"""API Gateway's side of the WebSockets: a text to a connection, and its end."""

from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

Posted = Literal["sent", "gone", "busy", "unknown"]

_GONE = {"GoneException"}
_BUSY = {"LimitExceededException", "ThrottlingException", "TooManyRequestsException"}


class Gateway:
    """`@connections`, by a client whose endpoint is the WebSocket API's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def post(self, connection_id: str, text: str) -> Posted:
        """`busy`: nothing was sent, for now. `unknown`: no answer came, and it may have been sent or not."""
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=text.encode())
        except ClientError as error:
            code = error.response["Error"]["Code"]
            return "gone" if code in _GONE else "busy" if code in _BUSY else "unknown"
        except BotoCoreError:
            return "unknown"
        return "sent"

    def close(self, connection_id: str) -> None:
        """End the connection; one that is gone already is no error."""
        try:
            self._client.delete_connection(ConnectionId=connection_id)
        except (ClientError, BotoCoreError):
            return  # it is gone, or will be at its idle limit: nothing more is posted to it
