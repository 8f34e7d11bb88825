"""Hosts over SSH: the only room that knows paramiko."""

from chalicelib.ssh.keys import generate_key, public_of
from chalicelib.ssh.pool import close_all, connected
from chalicelib.ssh.remote import RemoteHost
from chalicelib.ssh.transport import HostAddress, log_in, scan_host_key

__all__ = [
    "HostAddress",
    "RemoteHost",
    "close_all",
    "connected",
    "generate_key",
    "log_in",
    "public_of",
    "scan_host_key",
]
