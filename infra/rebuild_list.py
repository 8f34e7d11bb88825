"""`python -m infra.rebuild_list`: the list of services made anew from the services themselves.

It repairs the table that the environment names (AWS's own variables, and `SLIPWAY_TABLE`), also while the panel runs;
with `--state`, that of a one-machine installation that is stopped. It reads the whole table, and may be repeated.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from chalicelib.domain.errors import SlipwayError
from chalicelib.store.rebuild import Rebuilt
from chalicelib.wiring import adapters


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.rebuild_list", description=__doc__)
    parser.add_argument("--state", type=Path, help="the state folder of a one-machine installation that is stopped")
    arguments = parser.parse_args()
    from infra.local.runner import RunnerError  # noqa: PLC0415  --help needs none of it

    try:
        rebuilt = _of_a_machine(arguments.state) if arguments.state else adapters().services.rebuild_list()
    except (SlipwayError, RunnerError) as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in asdict(rebuilt).items()))
    return 0


def _of_a_machine(state: Path) -> Rebuilt:
    from infra.local.cloud import Cloud  # noqa: PLC0415
    from infra.local.runner import RunnerError, _state  # noqa: PLC0415

    if not (state / "dynamodb").is_dir():
        raise RunnerError(f"{state} is no state folder of Slipway")
    with _state(state.resolve()):
        cloud = Cloud(state.resolve(), {})
        try:
            return adapters().services.rebuild_list()
        finally:
            cloud.close()


if __name__ == "__main__":
    sys.exit(main())
