"""Seals the key of a model's provider for `SLIPWAY_AI_KEY_SEALED`: reads it on standard input, prints it in hex."""

import sys

from chalicelib.planning.providers import KEY_OWNER
from chalicelib.wiring import adapters


def main() -> int:
    key = sys.stdin.read().strip()
    if not key:
        print("type or pipe the key on standard input", file=sys.stderr)
        return 2
    print(adapters().sealer.seal(key.encode(), KEY_OWNER).hex())
    return 0


if __name__ == "__main__":
    sys.exit(main())
