"""What deploys remember between runs and machines, in a versioned bucket: Chalice's state, and who deploys now.

Chalice finds its functions by name, but its APIs only through the file that it writes after a deploy that went well
to its end. Without that file it would make a second API with another address: the file is what must not be lost.
"""

import json
import re
import secrets
import time
import uuid
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from infra.deploy.errors import DeployError
from infra.deploy.stages import APP, Stage

LOCK_SECONDS = 3600
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409", "NoSuchKey", "404"}
_KEY = re.compile("[0-9a-f]{64}")
_PLACE = "slipway"  # beside what Chalice writes: where it was deployed


class _Kept(NamedTuple):
    """An object; `version` None where the bucket keeps none."""

    body: bytes
    etag: str
    version: str | None


class Deposit:
    def __init__(self, s3: Any, stage: Stage) -> None:
        self._s3 = s3
        self._stage = stage
        # Names of buckets are the world's: whoever has ours first would be told all, but for the owner in each call.
        self._where = {"Bucket": stage.deposit, "ExpectedBucketOwner": stage.account}
        self._state = f"deployed/{stage.name}.json"
        self._lock = f"lock/{stage.name}.json"
        self._edge_key = f"edge/{stage.name}.key"

    @property
    def bucket(self) -> str:
        return self._stage.deposit

    def exists(self) -> bool:
        """Raise `DeployError` for a bucket that is another account's, or stands in another region than the stage."""
        try:
            found = self._s3.head_bucket(**self._where)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
                return False
            if error.response["Error"]["Code"] in {"403", "AccessDenied"}:
                raise DeployError(
                    f"bucket {self._stage.deposit} is not ours to read: it may be another account's than "
                    f"{self._stage.account}"
                ) from error
            raise
        if (region := found.get("BucketRegion", self._stage.region)) != self._stage.region:
            raise DeployError(f"bucket {self._stage.deposit} is in {region}: {self._elsewhere()}")
        return True

    def state(self) -> dict[str, Any] | None:
        """As `keep` was given it. Raise `DeployError` for one that cannot be read, or of another place."""
        found = self._get(self._state)
        if found is None:
            return None
        state = _read(found.body, self._at(self._state), "Put an earlier version of it back")
        place = state.pop(_PLACE, self._place())
        for what, ours in self._place().items():
            if (theirs := place.get(what, ours)) != ours:
                raise DeployError(f"{what} was {theirs} when this was deployed: {self._elsewhere()}")
        return state

    def keep(self, state: dict[str, Any]) -> None:
        text = json.dumps({**state, _PLACE: self._place()}, indent=2)
        self._s3.put_object(**self._where, Key=self._state, Body=text.encode())

    def put(self, key: str, body: bytes) -> None:
        self._s3.put_object(**self._where, Key=key, Body=body)

    def pinned(self, key: str, body: bytes) -> str:
        """The version of the object that has exactly this in it; put there if the newest has something else."""
        newest = self._get(key)
        if newest and newest.body == body and newest.version:
            return newest.version
        put = self._s3.put_object(**self._where, Key=key, Body=body)
        if "VersionId" not in put:
            raise DeployError(
                f"bucket {self._stage.deposit} keeps no versions: infra/deposit.yaml has them, switch them on"
            )
        return str(put["VersionId"])

    def edge_key(self) -> str | None:
        """What the API knows its edge by; None before there was one. Once deleted, the next deploy makes another."""
        found = self._get(self._edge_key)
        if found is None:
            return None
        key = found.body.decode("ascii", "replace")
        if not _KEY.fullmatch(key):
            raise DeployError(
                f"{self._at(self._edge_key)} is not what a deploy wrote: delete it, and the next deploy makes another"
            )
        return key

    def make_edge_key(self) -> str:
        key = secrets.token_hex(32)
        self.put(self._edge_key, key.encode())
        return key

    def locked(self, who: str, seconds: int = LOCK_SECONDS) -> "Lock":
        """Take the lock. Raise `DeployError` naming its holder; one past its time is taken over."""
        held = self._get(self._lock)
        condition = {"IfNoneMatch": "*"}
        taken_over = ""
        if held:
            other = _read(held.body, self._at(self._lock), self._cure(), "who", "since", "until")
            if other["until"] > time.time():
                raise DeployError(
                    f"{other['who']} deploys since {_clock(other['since'])}; the lock ends at "
                    f"{_clock(other['until'])} unless that deploy goes on. {self._cure()}"
                )
            condition = {"IfMatch": held.etag}
            taken_over = f"the lock of {other['who']} ended at {_clock(other['until'])} and was taken over"
        lock = Lock(self._s3, {**self._where, "Key": self._lock}, who, seconds, taken_over)
        lock.take(condition, "somebody else began to deploy this moment")
        return lock

    def _place(self) -> dict[str, str]:
        return {"app": APP, "stage": self._stage.name, "region": self._stage.region}

    def _elsewhere(self) -> str:
        return f"{self._stage.name} belongs there; its file says {self._stage.region}, which would be another one"

    def _cure(self) -> str:
        return f"If nobody deploys: aws s3 rm {self._at(self._lock)}"

    def _at(self, key: str) -> str:
        return f"s3://{self._stage.deposit}/{key}"

    def _get(self, key: str) -> "_Kept | None":
        try:
            answer = self._s3.get_object(**self._where, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return _Kept(answer["Body"].read(), answer["ETag"], answer.get("VersionId"))


class Lock:
    """Held until left; whoever took it over meanwhile keeps it."""

    def __init__(self, s3: Any, where: dict[str, str], who: str, seconds: int, taken_over: str) -> None:
        self._s3, self._where, self._who, self._seconds = s3, where, who, seconds
        self._since = int(time.time())
        self._renewed = time.monotonic()
        self._etag = ""
        self.taken_over = taken_over

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._s3.delete_object(**self._where, IfMatch=self._etag)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST:
                raise

    def renew(self) -> None:
        """Have its whole time before us again. Raise `DeployError` if it is not ours any more."""
        self.take(
            {"IfMatch": self._etag}, "the lock is not ours any more, somebody else may deploy: nothing more is done"
        )

    def renew_in_time(self) -> None:
        """For waits, which ask often: renew once a tenth of its time has gone."""
        if time.monotonic() - self._renewed >= self._seconds / 10:
            self.renew()

    def take(self, condition: dict[str, str], refused: str) -> None:
        now = int(time.time())
        # The id makes each text another one: a lock that is no longer ours never has our ETag.
        mine = {"id": uuid.uuid4().hex, "who": self._who, "since": self._since, "until": now + self._seconds}
        try:
            answer = self._s3.put_object(**self._where, Body=json.dumps(mine).encode(), **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST:
                raise
            answer = self._written(mine)
            if answer is None:
                raise DeployError(refused) from error
        self._etag = answer["ETag"]
        self._renewed = time.monotonic()

    def _written(self, mine: dict[str, Any]) -> Any:
        """None unless it is what lies there: the client repeats a call whose answer was lost, and is refused then."""
        try:
            found = self._s3.get_object(**self._where)
        except ClientError as error:
            if error.response["Error"]["Code"] in _LOST:
                return None
            raise
        return found if found["Body"].read() == json.dumps(mine).encode() else None


def _read(text: bytes, where: str, cure: str, *needed: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or any(key not in value for key in needed):
        raise DeployError(f"{where} is not what a deploy wrote. {cure}")
    return value


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
