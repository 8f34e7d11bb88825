"""SSH keys as text: made, read, and their public halves."""

import io

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from chalicelib.domain.errors import ValidationFailed

KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def generate_key() -> tuple[str, str]:
    """A new ed25519 key: the private half in OpenSSH's format, and the public line for authorized_keys."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, public


def public_of(private_key: str) -> str:
    key = load(private_key)
    return f"{key.get_name()} {key.get_base64()}"


def load(private_key: str) -> paramiko.PKey:
    """Any of the kinds OpenSSH makes today, without a passphrase."""
    for kind in KINDS:
        try:
            return kind.from_private_key(io.StringIO(private_key))
        except paramiko.PasswordRequiredException as error:
            raise _unusable("is encrypted; give one without a passphrase") from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue  # another kind, or none
    raise _unusable("cannot be read; give an OpenSSH or PEM private key of type ed25519, ECDSA or RSA")


def _unusable(why: str) -> ValidationFailed:
    message = f"private_key {why}"
    return ValidationFailed(message, [{"path": "private_key", "rule": "private-key", "message": message}])
