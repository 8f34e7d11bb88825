"""S3 for one machine: a file an object, for the calls Slipway makes, by S3's rules.

MiniStack's S3 keeps every object in memory and writes files beside them without their metadata, so a kill would lose
what they are. Here an object is one file named by its key's hash, a line of metadata and then the bytes, and is renamed
into place: a reader or a kill meets the old one or the new one. What is not offered is answered 501, never guessed.
"""

import base64
import hashlib
import json
import os
import threading
import time
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from infra.local.wire import Answer, Call

_DAY_S = 86400
_KEY_BYTES = 1024
_PAGE = 1000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_SWEEP_S = 3600
_LISTS_BY = {"list-type", "prefix", "max-keys", "continuation-token", "start-after", "encoding-type"}

Query = Mapping[str, str]


@dataclass(frozen=True)
class _Stored:
    """What is known of an object; the first line of its file."""

    key: str
    content_type: str
    etag: str
    size: int
    modified: float


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Objects:
    """Answers S3's calls in path style for the buckets in `folder`, which outlive it.

    What a lifecycle rule expires is gone within the hour, where S3 takes up to a day. `clock` is for tests.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets = {path.name: _Bucket(path) for path in folder.iterdir() if path.is_dir()}
        self._swept = float("-inf")

    def answer(self, call: Call) -> Answer:
        name, _, key = call.path.removeprefix("/").partition("/")
        query = dict(parse_qsl(call.query, keep_blank_values=True))
        try:
            with self._lock:
                self._sweep()
                if key:
                    return self._on_object(call, self._bucket(name), unquote(key), query)
                return self._on_bucket(call, name, query)
        except _Refused as refused:
            return _refusal(call, refused)

    def _on_object(self, call: Call, bucket: "_Bucket", key: str, query: Query) -> Answer:
        if set(query) - {"x-id"}:
            raise _not_offered(call)
        if call.method == "PUT":
            return self._put(call, bucket, key)
        if call.method == "DELETE":
            bucket.delete(key)
            return Answer(204, b"")
        if call.method not in ("GET", "HEAD"):
            raise _not_offered(call)
        stored = bucket.objects.get(key)
        if stored is None:
            raise _Refused(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            "Content-Type": stored.content_type,
            "Content-Length": str(stored.size),
            "ETag": stored.etag,
            "Last-Modified": formatdate(stored.modified, usegmt=True),
        }
        return Answer(200, bucket.read(key) if call.method == "GET" else b"", headers)

    def _put(self, call: Call, bucket: "_Bucket", key: str) -> Answer:
        if "x-amz-copy-source" in call.headers or "aws-chunked" in call.headers.get("content-encoding", ""):
            raise _not_offered(call)
        if len(key.encode()) > _KEY_BYTES:
            raise _Refused(400, "KeyTooLongError", "Your key is too long")
        digest = hashlib.md5(call.body, usedforsecurity=False).digest()
        _must_match(call.headers.get("content-md5"), digest, "Content-MD5")
        checksum = zlib.crc32(call.body).to_bytes(4)
        _must_match(call.headers.get("x-amz-checksum-crc32"), checksum, "CRC32")
        content_type = call.headers.get("content-type", "binary/octet-stream")
        stored = _Stored(key, content_type, f'"{digest.hex()}"', len(call.body), self._clock())
        bucket.write(stored, call.body)
        return Answer(200, b"", {"ETag": stored.etag})

    def _on_bucket(self, call: Call, name: str, query: Query) -> Answer:
        if "lifecycle" in query:
            return self._lifecycle(call, self._bucket(name))
        if call.method == "GET" and query.get("list-type") == "2" and not set(query) - _LISTS_BY:
            return _listed(self._bucket(name), name, query)
        if query or not name:
            raise _not_offered(call)
        if call.method == "HEAD":
            self._bucket(name)
            return Answer(200, b"")
        if call.method == "PUT":
            if name in self._buckets:
                raise _Refused(409, "BucketAlreadyOwnedByYou", "The bucket is yours already")
            if not name.replace("-", "").replace(".", "").isalnum() or name.startswith("."):
                raise _Refused(400, "InvalidBucketName", "The specified bucket is not valid.")
            self._buckets[name] = _Bucket(self._folder / name)
            return Answer(200, b"", {"Location": f"/{name}"})
        raise _not_offered(call)

    def _lifecycle(self, call: Call, bucket: "_Bucket") -> Answer:
        if call.method == "PUT":
            _rules(call.body)  # refused before it is kept
            bucket.keep_lifecycle(call.body)
            self._swept = float("-inf")
            return Answer(200, b"")
        if call.method != "GET":
            raise _not_offered(call)
        if bucket.lifecycle is None:
            raise _Refused(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
        return Answer(200, bucket.lifecycle, {"Content-Type": "application/xml"})

    def _bucket(self, name: str) -> "_Bucket":
        try:
            return self._buckets[name]
        except KeyError:
            raise _Refused(404, "NoSuchBucket", "The specified bucket does not exist") from None

    def _sweep(self) -> None:
        if self._clock() - self._swept < _SWEEP_S:
            return
        self._swept = self._clock()
        for bucket in self._buckets.values():
            bucket.expire(self._swept)


class _Bucket:
    """One folder: `objects/<hash of the key>` and `lifecycle.xml`. The engine's lock orders all calls."""

    def __init__(self, folder: Path) -> None:
        self._files = folder / "objects"
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lifecycle_file = folder / "lifecycle.xml"
        self.lifecycle = self._lifecycle_file.read_bytes() if self._lifecycle_file.exists() else None
        self.objects = {stored.key: stored for stored in self._found()}

    def write(self, stored: _Stored, body: bytes) -> None:
        _replace(self._path(stored.key), json.dumps(asdict(stored)).encode() + b"\n" + body)
        self.objects[stored.key] = stored

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes().partition(b"\n")[2]

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None):
            self._path(key).unlink()

    def keep_lifecycle(self, text: bytes) -> None:
        _replace(self._lifecycle_file, text)
        self.lifecycle = text

    def expire(self, now: float) -> None:
        for prefix, days in _rules(self.lifecycle) if self.lifecycle else ():
            old = now - days * _DAY_S
            for stored in [stored for stored in self.objects.values() if stored.modified <= old]:
                if stored.key.startswith(prefix):
                    self.delete(stored.key)

    def _found(self) -> Iterator[_Stored]:
        for path in self._files.iterdir():
            if path.suffix:  # a kill came between its making and its renaming: it was never answered
                path.unlink()
                continue
            with path.open("rb") as file:
                yield _Stored(**json.loads(file.readline()))

    def _path(self, key: str) -> Path:
        return self._files / hashlib.sha256(key.encode()).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _listed(bucket: _Bucket, name: str, query: Query) -> Answer:
    prefix = query.get("prefix", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    keys = sorted(key for key in bucket.objects if key.startswith(prefix) and key > after)
    size = min(int(query.get("max-keys", _PAGE)), _PAGE)
    page, more = keys[:size], len(keys) > size
    spelt = quote if query.get("encoding-type") == "url" else str
    root = ET.Element("ListBucketResult", xmlns=_NAMESPACE)
    values: dict[str, Any] = {
        "Name": name,
        "Prefix": spelt(prefix),
        "MaxKeys": size,
        "KeyCount": len(page),
        "IsTruncated": str(more).lower(),
        **({"EncodingType": "url"} if spelt is quote else {}),
        **({"NextContinuationToken": page[-1]} if more and page else {}),
    }
    _fill(root, values)
    for key in page:
        stored = bucket.objects[key]
        modified = datetime.fromtimestamp(stored.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        row = {"Key": spelt(key), "LastModified": modified, "ETag": stored.etag, "Size": stored.size}
        _fill(ET.SubElement(root, "Contents"), {**row, "StorageClass": "STANDARD"})
    return _xml(200, root)


def _rules(text: bytes) -> list[tuple[str, int]]:
    """Of a lifecycle: prefix and days of each rule that is on. Raise `_Refused` for what is not expiry by days."""
    malformed = _Refused(400, "MalformedXML", "a rule has a Status, a Filter by prefix and an Expiration in Days here")
    try:
        rules = [
            (rule.findtext("{*}Filter/{*}Prefix") or "", int(rule.findtext("{*}Expiration/{*}Days") or ""))
            for rule in ET.fromstring(text).iterfind("{*}Rule")  # noqa: S314  our own text, on loopback
            if rule.findtext("{*}Status") == "Enabled"
        ]
    except (ET.ParseError, ValueError):
        raise malformed from None
    if not all(days > 0 for _, days in rules):
        raise malformed
    return rules


def _must_match(sent: str | None, found: bytes, what: str) -> None:
    if sent is not None and sent != base64.b64encode(found).decode():
        raise _Refused(400, "BadDigest", f"The {what} you specified did not match what we received.")


def _not_offered(call: Call) -> _Refused:
    what = f"{call.method} {call.path}{'?' + call.query if call.query else ''}"
    return _Refused(501, "NotImplemented", f"the local S3 does not offer {what}")


def _refusal(call: Call, refused: _Refused) -> Answer:
    root = ET.Element("Error")
    _fill(root, {"Code": refused.code, "Message": str(refused), "Resource": call.path})
    answer = _xml(refused.status, root)
    return Answer(answer.status, b"", answer.headers) if call.method == "HEAD" else answer


def _fill(parent: ET.Element, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        ET.SubElement(parent, name).text = str(value)


def _xml(status: int, root: ET.Element) -> Answer:
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return Answer(status, text, {"Content-Type": "application/xml"})
