"""OpenSSH's server as we run it: its configuration and its keys."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def new_key() -> tuple[str, str]:
    """A fresh ed25519 pair: the private half as OpenSSH PEM, the public half as one line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def config(*, address: str, port: int, user: str, host_key_file: str, extra: tuple[str, ...] = ()) -> str:
    """One user, by key only; whatever is not named here is as OpenSSH ships it, session limits above all."""
    lines = (
        f"ListenAddress {address}:{port}",
        f"HostKey {host_key_file}",
        "PidFile none",
        f"AllowUsers {user}",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin no",
        "UsePAM no",
        "UseDNS no",
        "PrintMotd no",
        "PrintLastLog no",
        "Subsystem sftp internal-sftp",
        *extra,
    )
    return "".join(f"{line}\n" for line in lines)
