"""`python -m infra.local up`: Slipway on this machine."""

import argparse
import ipaddress
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run the API, its workflow and this machine as a host, until Ctrl-C")
    up.add_argument("--port", type=_port, default=8000, help="the API's port; 0 takes a free one (%(default)s)")
    up.add_argument(
        "--address",
        type=_address,
        action="append",
        help="listen here instead of 127.0.0.1; may be repeated, and 0.0.0.0 is every address: agents on other hosts"
        " need one that they reach",
    )
    up.add_argument(
        "--state", type=Path, default=Path(".state"), help="folder of everything that is kept (%(default)s)"
    )
    up.add_argument("--ready-file", type=Path, help="written once the API serves: its addresses, a token, the ids")
    up.add_argument(
        "--no-host",
        action="store_true",
        help="leave this machine alone (neither root nor Docker is needed): hosts are added through the API",
    )
    arguments = parser.parse_args()

    from infra.local import runner  # noqa: PLC0415  --help and a wrong option need none of it

    options = runner.Options(
        arguments.port,
        arguments.state.resolve(),
        arguments.ready_file,
        with_host=not arguments.no_host,
        addresses=tuple(dict.fromkeys(arguments.address or ["127.0.0.1"])),
    )
    return runner.main(options)


def _port(text: str) -> int:
    port = int(text)
    if port not in range(65536):
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {port}")
    return port


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"an address is like 10.0.0.5, not {text}") from None


if __name__ == "__main__":
    sys.exit(main())
