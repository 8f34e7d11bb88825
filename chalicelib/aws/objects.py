"""Bytes that are read seldom and by name: S3, where they expire by themselves."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import Unavailable

DAYS_KEPT = 14


def lifecycle() -> dict[str, Any]:
    """The rule a bucket of ours has, as S3 takes it."""
    rule = {"ID": "expire", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": DAYS_KEPT}}
    return {"Rules": [rule]}


class Objects:
    """One bucket. Every method raises `Unavailable` if S3 does not do it."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store it, in place of what was there."""
        self._call("put_object", Key=key, Body=content, ContentType=content_type)

    def get(self, key: str) -> bytes | None:
        """None where there is nothing, or nothing any more."""
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise _unavailable("get_object", error) from error
        except BotoCoreError as error:
            raise _unavailable("get_object", error) from error
        return body

    def list(self, prefix: str) -> Sequence[str]:
        """The keys that begin with it, in order."""
        keys: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **after)
            keys += [entry["Key"] for entry in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return keys
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, verb: str, **arguments: Any) -> Any:
        try:
            return getattr(self._s3, verb)(Bucket=self._bucket, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise _unavailable(verb, error) from error


def _unavailable(verb: str, error: ClientError | BotoCoreError) -> Unavailable:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else "no answer"
    return Unavailable(f"S3 refused {verb}: {code}")
