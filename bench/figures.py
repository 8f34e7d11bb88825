"""What every bench prints: the machine it ran on, medians with their spread, and ratios within one run.

Absolute times belong to one machine at one hour; a ratio of two things measured in turns on it is what can be compared.
"""

import datetime
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    p90: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[round(0.9 * (len(ordered) - 1))], len(ordered))

    def __str__(self) -> str:
        return f"{self.median:8.1f} | {self.least:8.1f} | {self.p90:8.1f} | {self.count:3d}"


def machine() -> str:
    """Date, cores, kernel, versions and how busy the machine is, in two lines."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = int(memory[1]) / (1 << 20) if memory else 0
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"{today}; {os.cpu_count()} cores, {gigabytes:.0f} GB, {_processor()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load average {load}\n"
        f"dockerd {_version('dockerd', '--version')}, docker {_version('docker', '--version')}, "
        f"compose {_version('docker', 'compose', 'version', '--short')}"
    )


def table(unit: str, rows: Sequence[tuple[str, Spread]]) -> str:
    """Rows of medians, in Markdown."""
    width = max(len(unit), *(len(name) for name, _ in rows))
    head = f"| {unit:{width}} |   median |      min |      p90 |   n |"
    lines = [f"| {name:{width}} | {spread} |" for name, spread in rows]
    return "\n".join([head, f"| {'-' * width} | -------: | -------: | -------: | --: |", *lines])


def _processor() -> str:
    named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return named[1] if named else platform.machine()


def _version(*words: str) -> str:
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return "not installed"
    found = re.search(r"\d+\.\d+[\w.+-]*", said)
    return found[0].rstrip(",") if found else "of unknown version"
