"""The release as Lambda gets it: its archives' sizes, and what importing its API function costs in CPU.

Chalice packages it for this machine's processor; the archives are unpacked as Lambda does it, the functions' before
the layer's on Python's path, no other package on it, and nothing written beside them. Each sample is a fresh
interpreter that reports its own user and system time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bench.figures import Spread, machine, table
from bench.plane import PROJECT, BenchError
from infra.deploy import release

_LIMIT_MS = 200
_REGION = "eu-central-1"
_NAMES = {
    "App": "slipway",
    "Stage": "prod",
    "Region": _REGION,
    "AccountId": "123456789012",
    "Partition": "aws",
    "Table": "slipway-prod",
    "KeyArn": "arn:aws:kms:eu-central-1:123456789012:key/bench",
}
_TOLD = "\nfrom resource import *; spent = getrusage(RUSAGE_SELF); print((spent.ru_utime + spent.ru_stime) * 1000)"
_IMPORT = "import app, sys\nassert 'paramiko' not in sys.modules, 'the API imported paramiko'"
_CLIENT = f"{_IMPORT}\nfrom chalicelib.wiring import adapters\nadapters().table"
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "PYTHONDONTWRITEBYTECODE": "1",
}


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.packaged", description=__doc__)
    asked.add_argument("--rounds", type=int, default=15, help="fresh interpreters of each (%(default)s)")
    rounds = asked.parse_args().rounds
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="slipway-") as made:
        project = Path(made, "release")
        wanted = release.Wanted("prod", _NAMES, architecture=release.own_architecture())
        sizes = release.package(release.build(wanted, project), "prod", _REGION)
        path = _unpacked(project, Path(made))
        spent = _measured(path, rounds)
    rows = [(name, Spread.of(values)) for name, values in spent.items()]
    print(f"\n{table('CPU of a fresh interpreter, ms', rows)}\n")
    api = Spread.of(spent["the packaged API function, imported"]).median
    print(f"limit for the import: {_LIMIT_MS} ms")
    print(f"functions: {sizes.function / 1e6:.2f} MB (limit 1); layer: {sizes.layer / 1e6:.1f} MB (limit 20)")
    within = sizes.function < release.FUNCTION_LIMIT and sizes.layer < release.LAYER_LIMIT
    return 0 if within and api < _LIMIT_MS else 1


def _unpacked(project: Path, folder: Path) -> str:
    for archive in (project / ".chalice" / "deployments").glob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder / archive.name.split("-")[0])
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return f"{folder / 'appcode'}:{folder / 'managed' / 'python' / 'lib' / version / 'site-packages'}"


def _measured(path: str, rounds: int) -> dict[str, list[float]]:
    programs = {
        "python, nothing": ("pass", path),
        "the packaged API function, imported": (_IMPORT, path),
        "… and its DynamoDB client made": (_CLIENT, path),
    }
    spent: dict[str, list[float]] = {name: [] for name in programs}
    for kept in (False, *(True for _ in range(rounds))):
        for name, (program, where) in programs.items():
            milliseconds = _cpu(program, where)
            if kept:
                spent[name].append(milliseconds)
    return spent


def _cpu(program: str, path: str) -> float:
    done = subprocess.run(
        [sys.executable, "-S", "-c", program + _TOLD],  # -S: not the packages installed here
        cwd=PROJECT.parent,
        env={**_ENVIRONMENT, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(done.stderr)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
