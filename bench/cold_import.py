"""What a cold start of the API function costs in CPU: importing the app and making its DynamoDB client.

Each sample is a fresh interpreter that reports its own user and system time when it ends; bytecode is compiled before.
Bare Python and boto3 with the same client stand beside it, in turns, because most of the figure is theirs. Paramiko
belongs to the two functions that speak SSH: here it must not have been imported.
"""

import argparse
import compileall
import os
import subprocess
import sys

from bench.figures import Spread, machine, table
from bench.plane import PROJECT, BenchError

_LIMIT_MS = 300
_API = """\
import app
from chalicelib.wiring import adapters
adapters().table
import sys
assert "paramiko" not in sys.modules, "the API imported paramiko"
"""
_BARE = "pass"
_BOTO3 = "import boto3; boto3.client('dynamodb')"
_TOLD = "\nfrom resource import *; spent = getrusage(RUSAGE_SELF); print((spent.ru_utime + spent.ru_stime) * 1000)"
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m bench.cold_import", description=__doc__)
    asked.add_argument("--rounds", type=int, default=15, help="fresh interpreters of each (%(default)s)")
    rounds = asked.parse_args().rounds
    compileall.compile_dir(PROJECT / "chalicelib", quiet=1)
    compileall.compile_file(PROJECT / "app.py", quiet=1)
    print(machine(), flush=True)
    programs = {"python, nothing": _BARE, "boto3 and a DynamoDB client": _BOTO3, "the API function": _API}
    spent: dict[str, list[float]] = {name: [] for name in programs}
    for kept in (False, *(True for _ in range(rounds))):
        for name, program in programs.items():
            milliseconds = _cpu(program)
            if kept:
                spent[name].append(milliseconds)
    rows = [(name, Spread.of(values)) for name, values in spent.items()]
    api = Spread.of(spent["the API function"]).median
    print(f"\n{table('CPU of a fresh interpreter, ms', rows)}\n")
    print(f"the API function / boto3 alone: {api / Spread.of(spent['boto3 and a DynamoDB client']).median:.2f}")
    print(f"limit for the API function: {_LIMIT_MS} ms")
    return 0 if api < _LIMIT_MS else 1


def _cpu(program: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", program + _TOLD],
        cwd=PROJECT,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(done.stderr)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
