"""`python -m infra.cost`: what AWS asks a month for an installation, with the arithmetic.

The prices are AWS's public ones of us-east-1, entered by hand in the month below: look at them before you rely on a
sum. How often things happen is assumed (`Use`), and how long functions run is estimated; the table's units follow
what the tests of the list assert (docs/architecture.md, "The list"). Left out: data sent to visitors, as services
answer from their own hosts; the hosts themselves; the free tier; taxes.
"""

import argparse
import sys
from dataclasses import dataclass

PRICES_OF = "2026-11"
# $ for one
GB_SECOND = 0.0000133334  # Lambda on arm64
INVOCATION = 0.20 / 1e6
REST_REQUEST = 3.50 / 1e6
SOCKET_MESSAGE = 1.00 / 1e6
SOCKET_MINUTE = 0.25 / 1e6
READ_UNIT = 0.125 / 1e6
WRITE_UNIT = 0.625 / 1e6
TABLE_GB = 0.25
BACKUP_GB = 0.20
TRANSITION = 0.025 / 1000
KMS_KEY, KMS_CALL = 1.00, 0.03 / 10_000
SECRET = 0.40
LOG_GB = 0.50
ALARM_FIGURE, OWN_FIGURE = 0.10, 0.30
NAT_HOUR, NAT_GB, ADDRESS_HOUR = 0.045, 0.045, 0.005
BUCKET_GB, BUCKET_PUT = 0.023, 0.005 / 1000
FIREWALL, FIREWALL_RULE, FIREWALL_REQUEST = 5.00, 1.00, 0.60 / 1e6
EDGE_REQUEST, EDGE_GB = 0.01 / 10_000, 0.085

_HOURS = 730
_MINUTES = _HOURS * 60


@dataclass(frozen=True)
class Use:
    """How an installation is used; the defaults are assumptions, not measurements."""

    services: int
    services_per_host: int = 25
    deploys_per_service: float = 8  # a month
    reads_per_service: float = 3000  # of the API, a month: panels that poll
    minutes_watched_per_service: float = 30  # live logs, a month
    lines_a_minute: float = 60  # of a service that is watched
    batches_a_host: float = _MINUTES * 4  # an agent's report every 15 s
    batches_watched: float = 240  # at most, a minute: an agent's pace while somebody watches
    seconds_waited: float = 10  # for a deploy, by a caller who asks with `?wait=`: the API's function waits with them

    @property
    def hosts(self) -> int:
        return max(1, -(-self.services // self.services_per_host))

    @property
    def deploys(self) -> float:
        return self.services * self.deploys_per_service

    @property
    def reads(self) -> float:
        return self.services * self.reads_per_service

    @property
    def batches(self) -> float:
        """Figures, and the lines of what is watched: one line a batch, as long as the pace carries that."""
        watched = self.services * self.minutes_watched_per_service
        return self.hosts * self.batches_a_host + watched * min(self.lines_a_minute, self.batches_watched)

    @property
    def looks(self) -> float:
        """At each host, each minute."""
        return self.hosts * _MINUTES

    @property
    def messages(self) -> float:
        return self.services * self.minutes_watched_per_service * self.lines_a_minute


@dataclass(frozen=True)
class Line:
    what: str
    dollars: float
    how: str


def bill(use: Use, *, network: bool = True, edge: bool = True) -> list[Line]:
    lines = [
        *_always(use),
        _requests(use),
        _functions(use),
        _jobs(use),
        _table(use),
        _logs(use),
        _sockets(use),
    ]
    if network:
        hours = _HOURS * (NAT_HOUR + ADDRESS_HOUR)
        gigabytes = use.deploys * 0.002 + use.looks * 10e-6
        lines.append(
            Line("network", hours + gigabytes * NAT_GB, f"NAT and address {_HOURS} h; {gigabytes:.1f} GB through it")
        )
    if edge:
        requests = use.reads + use.batches
        fee = FIREWALL + 2 * FIREWALL_RULE + requests * (FIREWALL_REQUEST + EDGE_REQUEST)
        gigabytes = use.reads * 4e-6 + use.messages * 0.3e-6
        lines.append(
            Line(
                "edge", fee + gigabytes * EDGE_GB, f"firewall, 2 rules; {_count(requests)} requests; {gigabytes:.1f} GB"
            )
        )
    return lines


def _always(use: Use) -> list[Line]:
    alarms, figures, own = 14, 21, 3  # some alarms reckon several figures together
    calls = use.deploys * 12 + use.looks * 0.1
    return [
        Line("keys", KMS_KEY + SECRET + calls * KMS_CALL, f"a key, a secret, {_count(calls)} calls of KMS"),
        Line(
            "alarms",
            figures * ALARM_FIGURE + own * OWN_FIGURE,
            f"{alarms} alarms on {figures} figures, {own} of them our own; the first three dashboards are free",
        ),
    ]


def _requests(use: Use) -> Line:
    requests = use.reads + use.deploys * 20 + use.batches
    how = f"{_count(use.reads)} reads, {_count(use.deploys * 20)} of deploys, {_count(use.batches)} agents' batches"
    return Line("API Gateway", requests * REST_REQUEST, how)


def _functions(use: Use) -> Line:
    """Milliseconds of a function that waits for DynamoDB and for hosts; a deploy holds host_step while it polls.

    The clock is three functions each minute: reaper, reconciler, keeper.
    """
    api = (use.reads * 0.030 + use.batches * 0.025) * 1.0
    steps = use.deploys * 8.0 * 0.5
    looks = use.looks * 0.6 * 0.5
    waits = use.deploys * use.seconds_waited * 1.0
    clock = 3 * _MINUTES * 0.2 * 0.25
    calls = use.reads + use.batches + use.deploys * 30 + use.looks + 3 * _MINUTES
    total = api + waits + steps + looks + clock
    parts = {"API": api, "waits": waits, "steps": steps, "looks": looks, "clock": clock}
    how = f"{total:,.0f} GB-s: " + ", ".join(f"{part} {seconds:,.0f}" for part, seconds in parts.items())
    return Line("Lambda", total * GB_SECOND + calls * INVOCATION, f"{how}; {_count(calls)} calls")


def _jobs(use: Use) -> Line:
    transitions = use.deploys * 18
    return Line("Step Functions", transitions * TRANSITION, f"{_count(transitions)} transitions, 18 a deploy")


def _table(use: Use) -> Line:
    """Each read of the API: the token and its count 2, a list or a service 2; each deploy writes the list's shard."""
    shard = 20 if use.services > 3000 else 6  # noqa: PLR2004  see docs/architecture.md, "The list"
    reads = use.reads * 3 + use.deploys * 60 + use.looks * (2 + use.services_per_host / 8) + use.batches
    writes = use.reads + use.deploys * (40 + 4 * shard) + use.looks * 2 + use.batches * 2
    size = use.services * 200e-6 + 0.1
    fee = reads * READ_UNIT + writes * WRITE_UNIT + size * (TABLE_GB + BACKUP_GB)
    return Line(
        "DynamoDB", fee, f"{_count(reads)} read units, {_count(writes)} write units, {size:.1f} GB with backups"
    )


def _logs(use: Use) -> Line:
    gigabytes = (use.reads + use.batches + use.looks) * 0.4e-6 + use.deploys * 10e-6
    puts = use.deploys * 4
    fee = gigabytes * LOG_GB + puts * BUCKET_PUT + use.deploys * 1e-4 * BUCKET_GB
    return Line("logs", fee, f"{gigabytes:.1f} GB of functions' logs, {_count(puts)} objects of job output")


def _sockets(use: Use) -> Line:
    minutes = use.hosts * _MINUTES + use.services * use.minutes_watched_per_service
    fee = use.messages * SOCKET_MESSAGE + minutes * SOCKET_MINUTE
    return Line("sockets", fee, f"{_count(use.messages)} messages, {_count(minutes)} minutes of agents and watchers")


def _count(number: float) -> str:
    for size, word in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{word}"
    return f"{number:.0f}"


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m infra.cost", description=__doc__)
    asked.add_argument("services", type=int, nargs="*", default=[10, 100, 1000])
    asked.add_argument("--no-network", action="store_true", help="network.mode none or given")
    asked.add_argument("--no-edge", action="store_true", help="edge.enabled = false")
    arguments = asked.parse_args()
    print(f"us-east-1, prices of {PRICES_OF}, $ a month")
    for services in arguments.services:
        use = Use(services)
        lines = bill(use, network=not arguments.no_network, edge=not arguments.no_edge)
        print(f"\n{services} services on {use.hosts} hosts, {use.deploys:,.0f} deploys")
        for line in lines:
            print(f"  {line.what:15} {line.dollars:8.2f}   {line.how}")
        total = sum(line.dollars for line in lines)
        print(f"  {'together':15} {total:8.2f}   {total / services:.2f} a service")
    return 0


if __name__ == "__main__":
    sys.exit(main())
