"""`python -m tests.lab down` cleans what killed runs left; `… up [NAME…]` keeps hosts up until Enter."""

import argparse
import sys

from infra.local import images
from tests.lab import ground
from tests.lab.hosts import Lab


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    asked.add_argument("verb", choices=("up", "down"))
    asked.add_argument("names", nargs="*", default=["h1", "h2"])
    arguments = asked.parse_args()
    reason = ground.missing()
    if reason:
        sys.stderr.write(f"no lab here: {reason}\n")
        return 0 if arguments.verb == "down" else 1
    if arguments.verb == "down":
        cleaned = ground.clean_all()
        sys.stdout.write(f"cleaned {len(cleaned)} left-over lab(s)\n" if cleaned else "nothing was left over\n")
        return 0
    _up(arguments.names)
    return 0


def _up(names: list[str]) -> None:
    with Lab() as lab:
        hosts = lab.hosts(*names)
        lab.images(images.BUSYBOX, images.EDGE, images.DEMO)
        key = lab.ground.folder / "key"
        key.touch(mode=0o600)
        key.write_text(lab.private_key)
        for host in hosts:
            sys.stdout.write(f"{host.name}: ssh -i {key} {host.user}@{host.address}   # {host.host_key}\n")
        sys.stdout.write("Enter ends the lab\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main())
