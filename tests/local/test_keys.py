"""KMS as boto3 sees it."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.facade import Facade
from infra.local.keys import ALIAS, Keys
from tests.local.conftest import client_of

OWNER = {"owner": "svc_0000000000000000"}


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Any]:
    with Facade() as facade:
        facade.offer("TrentService", Keys(tmp_path / "kms.json").answer)
        with client_of(facade, "kms") as client:
            yield client


def _code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_data_key_opens_with_its_context(kms: Any) -> None:
    made = kms.generate_data_key(KeyId=ALIAS, KeySpec="AES_256", EncryptionContext=OWNER)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=OWNER)

    assert len(made["Plaintext"]) == 32
    assert opened["Plaintext"] == made["Plaintext"]
    assert opened["KeyId"] == made["KeyId"]


@pytest.mark.parametrize("context", [{}, {"owner": "svc_0000000000000001"}, {**OWNER, "more": "x"}])
def test_another_context_does_not_open_it(kms: Any, context: dict[str, str]) -> None:
    made = kms.generate_data_key(KeyId=ALIAS, NumberOfBytes=16, EncryptionContext=OWNER)
    with pytest.raises(ClientError) as refused:
        kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    assert _code(refused) == "InvalidCiphertextException"


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_a_damaged_ciphertext_does_not_open(kms: Any, at: int) -> None:
    blob = bytearray(kms.encrypt(KeyId=ALIAS, Plaintext=b"secret")["CiphertextBlob"])
    blob[at] ^= 1
    with pytest.raises(ClientError) as refused:
        kms.decrypt(CiphertextBlob=bytes(blob))
    assert _code(refused) == "InvalidCiphertextException"


def test_a_truncated_ciphertext_does_not_open(kms: Any) -> None:
    blob = kms.encrypt(KeyId=ALIAS, Plaintext=b"secret")["CiphertextBlob"]
    for length in (1, 16, 17, 20, 29, len(blob) - 1):
        with pytest.raises(ClientError) as refused:
            kms.decrypt(CiphertextBlob=blob[:length])
        assert _code(refused) == "InvalidCiphertextException"


def test_an_unknown_key_is_not_found(kms: Any) -> None:
    with pytest.raises(ClientError) as refused:
        kms.generate_data_key(KeyId="alias/other", KeySpec="AES_256")
    assert _code(refused) == "NotFoundException"


def test_encrypt_takes_4096_bytes_and_no_more(kms: Any) -> None:
    kms.encrypt(KeyId=ALIAS, Plaintext=b"x" * 4096)
    with pytest.raises(ClientError) as refused:
        kms.encrypt(KeyId=ALIAS, Plaintext=b"x" * 4097)
    assert _code(refused) == "ValidationException"


def test_both_key_spec_and_number_of_bytes_are_refused(kms: Any) -> None:
    with pytest.raises(ClientError) as refused:
        kms.generate_data_key(KeyId=ALIAS, KeySpec="AES_256", NumberOfBytes=16)
    assert _code(refused) == "ValidationException"


def test_what_is_not_offered_says_so(kms: Any) -> None:
    with pytest.raises(ClientError) as refused:
        kms.list_keys()
    assert "ListKeys" in str(refused.value)


def test_the_key_is_kept_readable_by_its_owner_alone_and_opens_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "kms.json"
    with Facade() as facade:
        facade.offer("TrentService", Keys(file).answer)
        with client_of(facade, "kms") as client:
            blob = client.encrypt(KeyId=ALIAS, Plaintext=b"secret")["CiphertextBlob"]
            facade.offer("TrentService", Keys(file).answer)
            assert client.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
