"""KMS for one machine: Encrypt, Decrypt and GenerateDataKey under one master key kept in a 0600 file.

AES-256-GCM with the encryption context as associated data, so a ciphertext only opens with the context it was made
with. Losing the file loses every sealed value, as scheduling a key for deletion does in AWS.
"""

import base64
import binascii
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.local.wire import ACCOUNT, REGION, Answer, Call, refusal, reply

ALIAS = "alias/slipway"

Parameters = dict[str, Any]

_PLAINTEXT_LIMIT = 4096
_FORMAT = b"\x01"
_ID, _NONCE = 16, 12
_KEY_SPECS = {"AES_256": 32, "AES_128": 16}


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Keys:
    """Answers `TrentService.*`; opened on the same file again, it opens what it sealed before."""

    def __init__(self, file: Path) -> None:
        self._id, material = _kept(file)
        self._cipher = AESGCM(material)
        self.arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self._id}"
        self._names = {str(self._id), self.arn, ALIAS, f"arn:aws:kms:{REGION}:{ACCOUNT}:{ALIAS}"}
        self._operations: dict[str, Callable[[Parameters], Parameters]] = {
            "Encrypt": self._encrypt,
            "Decrypt": self._decrypt,
            "GenerateDataKey": self._generate_data_key,
        }

    def answer(self, call: Call) -> Answer:
        operation = self._operations.get(call.operation)
        if operation is None:
            return refusal(501, "NotImplementedException", f"the local KMS does not offer {call.operation}")
        try:
            return reply(operation(json.loads(call.body)))
        except _Refused as refused:
            return refusal(400, refused.code, str(refused))

    def _encrypt(self, given: Parameters) -> Parameters:
        self._named(given)
        plaintext = _blob(given, "Plaintext")
        if not 1 <= len(plaintext) <= _PLAINTEXT_LIMIT:
            raise _Refused("ValidationException", f"Plaintext must be 1 to {_PLAINTEXT_LIMIT} bytes long")
        return {"KeyId": self.arn, "CiphertextBlob": self._seal(plaintext, given), "EncryptionAlgorithm": _DEFAULT}

    def _decrypt(self, given: Parameters) -> Parameters:
        blob = _blob(given, "CiphertextBlob")
        head, nonce, sealed = blob[: 1 + _ID], blob[1 + _ID : 1 + _ID + _NONCE], blob[1 + _ID + _NONCE :]
        if head != _FORMAT + self._id.bytes:
            raise _Refused("InvalidCiphertextException", "this ciphertext was not made with a key of this machine")
        if given.get("KeyId"):
            self._named(given)
        try:
            plaintext = self._cipher.decrypt(nonce, sealed, head + _context(given))
        except (InvalidTag, ValueError):
            raise _Refused("InvalidCiphertextException", "damaged, or made with another encryption context") from None
        return {"KeyId": self.arn, "Plaintext": _text(plaintext), "EncryptionAlgorithm": _DEFAULT}

    def _generate_data_key(self, given: Parameters) -> Parameters:
        self._named(given)
        plaintext = os.urandom(_wanted_length(given))
        return {"KeyId": self.arn, "Plaintext": _text(plaintext), "CiphertextBlob": self._seal(plaintext, given)}

    def _seal(self, plaintext: bytes, given: Parameters) -> str:
        head, nonce = _FORMAT + self._id.bytes, os.urandom(_NONCE)
        return _text(head + nonce + self._cipher.encrypt(nonce, plaintext, head + _context(given)))

    def _named(self, given: Parameters) -> None:
        name = given.get("KeyId")
        if name not in self._names:
            raise _Refused("NotFoundException", f"Key {name!r} does not exist")


_DEFAULT = "SYMMETRIC_DEFAULT"


def _kept(file: Path) -> tuple[uuid.UUID, bytes]:
    if not file.exists():
        content = json.dumps({"id": str(uuid.uuid4()), "material": _text(AESGCM.generate_key(256))})
        fresh = file.with_name(f"{file.name}.new")
        with open(fresh, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.rename(file)
    kept = json.loads(file.read_text())
    return uuid.UUID(kept["id"]), base64.b64decode(kept["material"])


def _wanted_length(given: Parameters) -> int:
    spec, count = given.get("KeySpec"), given.get("NumberOfBytes")
    if (spec is None) == (count is None):
        raise _Refused("ValidationException", "give either KeySpec or NumberOfBytes")
    length = _KEY_SPECS.get(str(spec)) if count is None else count
    if not isinstance(length, int) or not 1 <= length <= 1024:  # noqa: PLR2004
        raise _Refused("ValidationException", "KeySpec is AES_256 or AES_128, NumberOfBytes 1 to 1024")
    return length


def _context(given: Parameters) -> bytes:
    return json.dumps(given.get("EncryptionContext") or {}, sort_keys=True, separators=(",", ":")).encode()


def _blob(given: Parameters, name: str) -> bytes:
    try:
        return base64.b64decode(given[name], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise _Refused("ValidationException", f"{name} is missing or not base64") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
