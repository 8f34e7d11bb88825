"""What deploys remember between runs and machines, in a versioned bucket: Chalice's state, and who deploys now.

Chalice finds its functions by name, but its APIs only through the file that it writes after a deploy that went well
to its end. Without that file it would make a second API with another address: the file is what must not be lost.
"""

import json
import time
import uuid
from typing import Any

from botocore.exceptions import ClientError

from infra.deploy.errors import DeployError
from infra.deploy.stages import Stage

LOCK_SECONDS = 3600
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class Deposit:
    def __init__(self, s3: Any, stage: Stage) -> None:
        self._s3 = s3
        self._bucket = stage.deposit
        # Names of buckets are the world's: whoever has ours first would be told all, but for the owner in each call.
        self._where = {"Bucket": stage.deposit, "ExpectedBucketOwner": stage.account}
        self._state = f"deployed/{stage.name}.json"
        self._lock = f"lock/{stage.name}.json"

    @property
    def bucket(self) -> str:
        return self._bucket

    def exists(self) -> bool:
        try:
            self._s3.head_bucket(**self._where)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
                return False
            if error.response["Error"]["Code"] in {"403", "AccessDenied"}:
                raise DeployError(
                    f"bucket {self._bucket} is not ours to read: it may be another account's than "
                    f"{self._where['ExpectedBucketOwner']}"
                ) from error
            raise
        return True

    def state(self) -> dict[str, Any] | None:
        found = self._get(self._state)
        return json.loads(found[0]) if found else None

    def keep(self, state: dict[str, Any]) -> None:
        self._s3.put_object(**self._where, Key=self._state, Body=json.dumps(state, indent=2).encode())

    def put(self, key: str, body: bytes) -> None:
        self._s3.put_object(**self._where, Key=key, Body=body)

    def locked(self, who: str, seconds: int = LOCK_SECONDS) -> "Lock":
        """Take the lock. Raise `DeployError` naming its holder; one past its time is taken over."""
        mine = {"id": uuid.uuid4().hex, "who": who, "since": int(time.time()), "until": int(time.time()) + seconds}
        text = json.dumps(mine).encode()
        held = self._get(self._lock)
        condition = {"IfNoneMatch": "*"}
        taken_over = ""
        if held:
            other = json.loads(held[0])
            if other["until"] > time.time():
                raise DeployError(
                    f"{other['who']} deploys since {_clock(other['since'])}; the lock ends at {_clock(other['until'])}"
                )
            condition = {"IfMatch": held[1]}
            taken_over = f"the lock of {other['who']} ended at {_clock(other['until'])} and was taken over"
        try:
            answer = self._s3.put_object(**self._where, Key=self._lock, Body=text, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in _TAKEN:
                raise DeployError("somebody else began to deploy this moment") from error
            raise
        return Lock(self._s3, {**self._where, "Key": self._lock}, answer["ETag"], taken_over)

    def _get(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self._s3.get_object(**self._where, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return answer["Body"].read(), answer["ETag"]


class Lock:
    """Held until left; whoever took it over meanwhile keeps it."""

    def __init__(self, s3: Any, where: dict[str, str], etag: str, taken_over: str) -> None:
        self._s3, self._where, self._etag = s3, where, etag
        self.taken_over = taken_over

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._s3.delete_object(**self._where, IfMatch=self._etag)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {*_TAKEN, "NoSuchKey", "404"}:
                raise


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
