"""Secrets at rest: envelope encryption under KMS.

KMS encrypts at most 4 KB itself, so each value gets a data key of its own; the context (whose secret this is) is bound
to both, so a sealed value moved to another owner does not open.
"""

import os
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import Unavailable

_NONCE_BYTES = 12
_LENGTH_BYTES = 2


class Sealer:
    def __init__(self, kms: Any, key_id: str) -> None:
        self._kms = kms
        self._key_id = key_id

    def seal(self, plain: bytes, owner: str) -> bytes:
        """Encrypt for `owner` (an id). Layout: length of the wrapped key, wrapped key, nonce, AES-256-GCM text."""
        key = self._call("generate_data_key", KeyId=self._key_id, KeySpec="AES_256", EncryptionContext={"owner": owner})
        nonce = os.urandom(_NONCE_BYTES)
        wrapped: bytes = key["CiphertextBlob"]
        text: bytes = _cipher(key["Plaintext"]).encrypt(nonce, plain, owner.encode())
        return len(wrapped).to_bytes(_LENGTH_BYTES) + wrapped + nonce + text

    def unseal(self, sealed: bytes, owner: str) -> bytes:
        end = _LENGTH_BYTES + int.from_bytes(sealed[:_LENGTH_BYTES])
        wrapped, nonce, text = sealed[_LENGTH_BYTES:end], sealed[end : end + _NONCE_BYTES], sealed[end + _NONCE_BYTES :]
        key = self._call("decrypt", CiphertextBlob=wrapped, EncryptionContext={"owner": owner})
        plain: bytes = _cipher(key["Plaintext"]).decrypt(nonce, text, owner.encode())
        return plain

    def _call(self, verb: str, **arguments: Any) -> Any:
        try:
            return getattr(self._kms, verb)(**arguments)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"KMS refused {verb}") from error


def _cipher(key: bytes) -> Any:
    # Imported here: only requests that touch a secret pay for it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)
