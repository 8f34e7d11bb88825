"""`python -m infra.deploy package|plan|up --stage prod`."""

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import SlipwayError
from infra.deploy import preflight, release, stages, up
from infra.deploy.errors import DeployError
from infra.deploy.stages import APP, PROJECT, Stage

_SIGINT_EXIT = 128 + signal.SIGINT
_SIGTERM_EXIT = 128 + signal.SIGTERM


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C: what is held is given back
    try:
        stage = stages.read(arguments.stage, arguments.stages)
        folder = arguments.folder or PROJECT / "build" / stage.name
        {"package": _package, "preflight": _preflight, "plan": _plan, "up": _up}[arguments.verb](
            stage, folder, arguments
        )
    except (DeployError, SlipwayError, ClientError, BotoCoreError) as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nslipway: interrupted; what was begun is gone on with by the next deploy", file=sys.stderr)
        return _SIGINT_EXIT
    return 0


def _stop(*_: object) -> None:
    print("slipway: told to stop", file=sys.stderr)
    raise SystemExit(_SIGTERM_EXIT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("verb", choices=["package", "preflight", "plan", "up"])
    parser.add_argument("--stage", required=True, help="infra/stages/<stage>.toml")
    parser.add_argument("--stages", type=Path, default=stages.STAGES, help="the folder of the stages (infra/stages)")
    parser.add_argument("--yes", action="store_true", help="do not ask after the plan was shown")
    parser.add_argument("--folder", type=Path, help="where the release is built (build/<stage>)")
    parser.add_argument("--architecture", choices=["arm64", "x86_64"], help="other than .chalice/config.json says")
    return parser.parse_args()


def _package(stage: Stage, folder: Path, arguments: argparse.Namespace) -> None:
    """Without asking AWS for anything: the account and the key are named as they will be."""
    names = {
        "App": APP,
        "Stage": stage.name,
        "Region": stage.region,
        "AccountId": stage.account,
        "Partition": "aws",
        "Table": stage.table,
        "KeyArn": f"arn:aws:kms:{stage.region}:{stage.account}:alias/{stage.prefix}",
    }
    wanted = release.Wanted(stage.name, names, stage.settings, architecture=arguments.architecture)
    sizes = release.package(release.build(wanted, folder), stage.name, stage.region)
    print(f"{folder}: functions {sizes.function / 1e6:.2f} MB (limit 1), layer {sizes.layer / 1e6:.1f} MB (limit 20)")
    if sizes.function >= release.FUNCTION_LIMIT or sizes.layer >= release.LAYER_LIMIT:
        raise DeployError("the release is larger than that")


def _preflight(stage: Stage, _folder: Path, _arguments: argparse.Namespace) -> None:
    findings = preflight.look(stage, up.clients_of(stage))
    print("\n".join(map(str, findings)))
    if any(finding.level == "failure" for finding in findings):
        raise DeployError("a deploy would stop here")


def _plan(stage: Stage, folder: Path, arguments: argparse.Namespace) -> None:
    with contextlib.suppress(up.NotAgreed):
        up.up(stage, up.Options(folder, lambda: False, print, arguments.architecture))


def _up(stage: Stage, folder: Path, arguments: argparse.Namespace) -> None:
    up.up(stage, up.Options(folder, lambda: arguments.yes or _agreed(), print, arguments.architecture))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise DeployError("nobody is there to take the plan: --yes takes it")
    try:
        return input("\nGo on? [y/N] ").strip().lower() == "y"
    except EOFError:  # Ctrl-D
        return False


if __name__ == "__main__":
    sys.exit(main())
