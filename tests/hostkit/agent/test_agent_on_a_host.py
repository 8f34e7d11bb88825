"""The agent against a real Docker engine: what a follower gets, whatever is cut, killed or rotated meanwhile."""

import json
import random
import time
from functools import partial

import pytest

from chalicelib.hostkit.agent import cursor
from tests.hostkit.agent.conftest import AgentOnHost, all_of, counting
from tests.hostkit.agent.control import Control, Follower, at_random, numbers

pytestmark = pytest.mark.lab


def count(follower: Follower) -> int:
    return len(follower.messages())


def has(follower: Follower, lines: int) -> bool:
    return count(follower) >= lines


def check_all(follower: Follower, lines: int) -> None:
    for stream, first in (("stdout", 0), ("stderr", 1)):
        got = list(numbers(follower, stream))
        wanted = list(range(first, lines, 2))
        assert len(got) == len(wanted), f"{stream}: {len(got)} of {len(wanted)}, {len(set(got))} different"
        assert got == wanted, stream


# what a follower gets


def test_a_follower_gets_the_backlog_and_then_what_is_written(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.run(service, counting(4000, pause="[ $((i % 50)) -eq 0 ] && usleep 20000;"))
    on_host.begin()
    time.sleep(0.7)
    follower = control.follow(service, tail="all")

    control.until(lambda: count(follower) == 4000)
    check_all(follower, 4000)
    assert {entry["container"] for entry in follower.got} == {"web"}


def test_followers_begin_where_they_ask_to(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(200))
    on_host.begin()
    everything = control.follow(service, tail="all")
    control.until(lambda: count(everything) == 200)
    tail = control.follow(service, tail=10)
    nothing = control.follow(service, tail=0)
    since = control.follow(service, since=everything.got[150]["timestamp"])
    cursor = control.follow(service, cursor=everything.got[119]["cursor"])
    control.until(lambda: count(cursor) == 80 and count(tail) == 10)

    assert [entry["message"] for entry in cursor.got] == [entry["message"] for entry in everything.got[120:]]
    moments = sorted(entry["timestamp"] for entry in everything.got)
    assert sorted(entry["timestamp"] for entry in tail.got) == moments[-10:]
    wanted = [moment for moment in moments if moment >= everything.got[150]["timestamp"]]
    control.until(lambda: count(since) == len(wanted))
    assert sorted(entry["timestamp"] for entry in since.got) == wanted
    assert nothing.got == []


def test_a_cursor_that_cannot_be_read_is_said_to_be_so(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(10))
    on_host.begin()
    follower = control.follow(service, cursor="notours")

    control.until(lambda: count(follower) == 11)
    assert follower.got[0]["stream"] == "system"
    assert "cannot be read" in follower.got[0]["message"]


def test_all_followers_of_a_service_share_one_stream(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(1_000_000, pause="usleep 10000;"))
    on_host.begin()
    followers = [control.follow(service, tail=5) for _ in range(50)]
    control.until(lambda: all(count(one) > 50 for one in followers))
    control.until(lambda: sorted(control.batches[-1]["sections"][0]["to"] if control.batches[-1]["sections"] else [])
                  == [one.number for one in followers])  # fmt: skip

    open_ = on_host.host.exec("sh", "-c", "ss -xp state connected dst /var/run/docker.sock | wc -l")
    assert int(open_) < 10
    for one in followers:
        got = list(numbers(one, "stdout"))
        assert got == list(range(got[0], got[0] + 2 * len(got), 2))


def test_each_container_is_named_and_replicas_by_their_number(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.run(service, "echo one; sleep 600", name="web", number=1)
    on_host.run(service, "echo two; sleep 600", name="web", number=2)
    on_host.run(service, "echo data; sleep 600", name="db")
    on_host.run("svc_other12345678901", "echo other; sleep 600")
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: count(follower) == 3)

    assert {(one["container"], one["message"]) for one in follower.got} == {
        ("web-1", "one"),
        ("web-2", "two"),
        ("db", "data"),
    }


def test_long_lines_terminals_and_what_is_no_utf8(on_host: AgentOnHost, control: Control, service: str) -> None:
    long = "head -c 40000 /dev/zero | tr '\\0' x; echo"
    longest = "head -c 250000 /dev/zero | tr '\\0' y; echo"
    container = on_host.run(service, f"{long}; {longest}; printf 'caf\\351 \\303\\251 \\033[1m\\n'; sleep 600")
    on_host.run(service, f"{long}; echo after; sleep 600", "--tty", name="tty")
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: {"after", "caf\ufffd é \x1b[1m"} <= set(follower.messages()))

    web = [entry for entry in follower.got if entry["container"] == "web"]
    assert web[0]["message"] == "x" * 40000
    parts = [entry for entry in web[1:] if entry["message"].startswith("y")]
    assert "".join(entry["message"] for entry in parts) == "y" * 250_000
    assert [bool(entry.get("partial")) for entry in parts] == [True] * (len(parts) - 1) + [False]
    marks = [cursor.read(entry["cursor"]).mark((container[:12], 1)) for entry in (web[0], *parts)]
    assert len(set(marks[:-1])) == 1  # a line that came in part comes again
    assert marks[-1] > marks[0]
    assert [entry["message"] for entry in follower.got if entry["container"] == "tty"] == ["x" * 40000, "after"]


def test_containers_that_come_later_are_followed_from_their_first_line(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    first = on_host.run(service, counting(10))
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: count(follower) == 10)
    on_host.host.docker("rm", "--force", first)
    on_host.containers.remove(first)
    on_host.run(service, "echo fresh; " + counting(1000))

    control.until(lambda: count(follower) == 1011)
    assert follower.messages()[10] == "fresh"


def test_a_container_that_restarts_is_followed_on(on_host: AgentOnHost, control: Control, service: str) -> None:
    container = on_host.run(service, "echo begun; sleep 0.3; echo over; exit 1", "--restart", "on-failure:4")
    on_host.begin()
    follower = control.follow(service, tail="all")

    control.until(lambda: count(follower) == 10)
    on_host.host.docker("start", container)
    control.until(lambda: count(follower) > 10)
    assert follower.messages()[:10] == ["begun", "over"] * 5


def test_nobody_follows_nothing_is_read(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(1_000_000, pause="usleep 10000;"))
    on_host.begin()
    follower = control.follow(service, tail=0)
    control.until(lambda: count(follower) > 10)
    control.leave(follower)

    look = "ss -xp state connected dst /var/run/docker.sock | wc -l"
    control.until(lambda: int(on_host.host.exec("sh", "-c", look)) <= 3)


def test_a_quiet_stream_gives_a_sign_of_life(on_host: AgentOnHost, control: Control, service: str) -> None:
    control.settings["sign_of_life_seconds"] = 1
    on_host.run(service, "echo last; sleep 600")
    on_host.begin()
    follower = control.follow(service, tail=1)
    control.until(lambda: len(follower.got) >= 3)

    assert [entry["message"] for entry in follower.got[:3]] == ["last", "no new lines", "no new lines"]
    again = control.follow(service, cursor=follower.got[2]["cursor"])
    control.until(lambda: again.got)
    assert again.messages()[0] == "no new lines"


# what goes wrong meanwhile


def test_a_socket_that_is_cut_over_and_over_is_soon_there_again(on_host: AgentOnHost, control: Control) -> None:
    on_host.begin()
    for _ in range(7):  # were each pause twice the one before, the last ones would be 16 and 30 s
        control.hang_up()
        control.until(lambda: not control.connected)
        control.until(lambda: control.connected, 12)


def test_nothing_is_lost_or_repeated_over_cut_requests_and_sockets(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    control.cut = at_random(1, 0.4)
    on_host.run(service, counting(20_000, pause="[ $((i % 100)) -eq 0 ] && usleep 20000;"))
    on_host.start()
    early = control.follow(service, tail="all")
    followers = [early]
    dice = random.Random(2)
    while count(early) < 20_000:
        time.sleep(dice.uniform(0.2, 1))
        control.hang_up()
        if early.got and len(followers) < 6:
            followers.append(control.follow(service, cursor=dice.choice(early.got)["cursor"]))
    control.cut = lambda: ""

    check_all(early, 20_000)
    for later in followers[1:]:
        beginning = next(i for i, entry in enumerate(early.got) if entry["cursor"] == later.start["cursor"])
        rest = {entry["message"] for entry in early.got[beginning + 1 :]}
        control.until(partial(has, later, len(rest)))
        assert len(later.messages()) == len(rest)
        assert set(later.messages()) == rest


def test_nothing_is_lost_or_repeated_when_the_agent_is_killed(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    control.cut = at_random(3, 0.2)
    on_host.run(service, counting(20_000, pause="[ $((i % 100)) -eq 0 ] && usleep 20000;"))
    on_host.start()
    early = control.follow(service, tail="all")
    late = None
    dice = random.Random(4)
    kills = 0
    deadline = time.monotonic() + 300
    while count(early) < 20_000:
        assert time.monotonic() < deadline
        time.sleep(dice.uniform(0.5, 2))
        on_host.kill()
        on_host.start()
        kills += 1
        if late is None and early.got:
            late = control.follow(service, cursor=early.cursor)
    control.cut = lambda: ""

    assert kills > 3
    check_all(early, 20_000)
    assert late is not None
    (beginning,) = [i for i, entry in enumerate(early.got) if entry["cursor"] == late.start["cursor"]]
    control.until(lambda: late is not None and count(late) >= 20_000 - beginning - 1)
    assert sorted(map(int, late.messages())) == sorted(int(entry["message"]) for entry in early.got[beginning + 1 :])


def test_a_log_that_is_rotated_all_the_time_repeats_nothing(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    rotated = ("--log-opt", "max-size=60k", "--log-opt", "max-file=3")
    on_host.run(service, counting(12_000, pause="[ $((i % 40)) -eq 0 ] && usleep 20000;"), *rotated)
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: "11999" in follower.messages("stderr"), 120)

    for stream in ("stdout", "stderr"):
        got = list(numbers(follower, stream))
        assert got == sorted(set(got))
    lost = [entry for entry in follower.got if entry["stream"] == "system"]
    assert lost or all_of(follower, 12_000)


def test_what_rotation_took_while_nobody_could_read_is_owned_up_to(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    rotated = ("--log-opt", "max-size=20k", "--log-opt", "max-file=2")
    told = "while [ ! -e /go ]; do usleep 10000; done; " + counting(20_000, more="touch /written; sleep 600")
    web = on_host.run(service, counting(400, more=told), *rotated)
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: count(follower) == 400)
    on_host.kill()
    before = follower.got[-1]
    # All that is rotated away is so before the agent is back: what follows the gap is still there to be read again.
    on_host.host.docker("exec", web, "touch", "/go")
    control.until(lambda: on_host.host.run("docker", "exec", web, "test", "-e", "/written").returncode == 0, 60)
    on_host.start()
    control.until(lambda: any(entry["stream"] == "system" for entry in follower.got))

    gap = next(entry for entry in follower.got if entry["stream"] == "system")
    assert "lost" in gap["message"]
    assert before["timestamp"][:15] in gap["message"]
    again = control.follow(service, cursor=gap["cursor"])
    control.until(lambda: again.got)
    assert again.got[0]["stream"] in ("stdout", "stderr")


def test_a_flood_that_outruns_everybody_is_accounted_for(on_host: AgentOnHost, control: Control, service: str) -> None:
    lines = 600_000
    rotated = ("--log-opt", "max-size=2m", "--log-opt", "max-file=2")
    on_host.begin()
    follower = control.follow(service, tail="all")
    on_host.run(service, f"sleep 1; seq 1 {lines}; sleep 2; echo {lines + 1}; sleep 600", *rotated)
    control.until(lambda: follower.got and follower.got[-1]["message"] == str(lines + 1), 240)

    before, owned = 0, False
    for entry in follower.got:
        if entry["stream"] == "system":
            owned = True
            continue
        assert int(entry["message"]) == before + 1 or (owned and int(entry["message"]) > before), before
        before, owned = int(entry["message"]), False
    assert before == lines + 1


def test_a_follower_that_is_behind_gets_the_rest_later_and_nothing_twice(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.run(service, counting(6_000, pause="[ $((i % 100)) -eq 0 ] && usleep 20000;"))
    on_host.begin()
    fast, slow = control.follow(service, tail="all"), control.follow(service, tail="all")
    slow.most = 37
    control.until(lambda: count(fast) == 6_000)
    slow.most = None
    control.until(lambda: count(slow) == 6_000)

    check_all(fast, 6_000)
    check_all(slow, 6_000)


def test_a_partition_loses_nothing(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(20_000, pause="[ $((i % 100)) -eq 0 ] && usleep 50000;"))
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: count(follower) > 500)
    on_host.host.cut()
    time.sleep(6)
    on_host.host.heal()

    control.until(lambda: count(follower) == 20_000, 180)
    check_all(follower, 20_000)


def test_the_engine_may_die_and_come_back(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, counting(1000, more="while true; do echo here; sleep 0.1; done"), "--restart", "always")
    on_host.begin()
    follower = control.follow(service, tail="all")
    control.until(lambda: count(follower) > 1000)
    on_host.host.kill_dockerd()
    on_host.host.start_dockerd()

    control.until(lambda: count(follower) > 2000)
    late = control.follow(service, tail=3)
    control.until(lambda: count(late) >= 3)


def test_a_batch_that_is_too_large_for_them_is_sent_in_halves(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    control.refuse = lambda batch: 413 if sum(len(one["entries"]) for one in batch["sections"]) > 50 else 0
    on_host.run(service, counting(2_000))
    on_host.begin()
    follower = control.follow(service, tail="all")

    control.until(lambda: count(follower) == 2_000)
    check_all(follower, 2_000)


def test_a_revoked_agent_takes_the_token_that_it_is_given(on_host: AgentOnHost, control: Control, service: str) -> None:
    control.token = "another"
    on_host.start()
    time.sleep(1)
    on_host.write("config.json", json.dumps(control.config()).encode())
    on_host.kill()
    on_host.begin()
    on_host.run(service, "echo hello; sleep 600")
    follower = control.follow(service, tail=1)
    control.until(lambda: follower.messages() == ["hello"])


# telemetry


def test_what_containers_use_is_told_every_few_seconds(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.run(service, "while true; do :; done", "--cpus", "0.3", "--memory", "64m")
    on_host.begin()
    control.until(lambda: any(seen["services"].get(service) for seen in control.stats[2:]))

    (container,) = control.stats[-1]["services"][service]["containers"]
    assert 0.1 < container["cpu_usage"] < 0.6
    assert container["memory_limit_mb"] == 64


def test_what_becomes_of_containers_is_told_at_once(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.begin()
    healthy = ("--health-cmd", "true", "--health-interval", "1s")
    container = on_host.run(service, "sleep 2; exit 7", *healthy)
    control.until(lambda: control.events and control.events[-1]["type"] == "die")

    assert [event["type"] for event in control.events] == ["start", "health_status", "die"]
    assert [event["container"] for event in control.events] == ["web"] * 3
    assert control.events[1]["health"] == "healthy"
    assert control.events[2]["exit_code"] == 7
    assert len({event["id"] for event in control.events}) == 3
    assert all(event["id"].startswith(container[:12]) for event in control.events)


def test_the_last_lines_of_a_container_that_crashed(on_host: AgentOnHost, control: Control, service: str) -> None:
    on_host.begin()
    container = on_host.run(service, "seq 1 500; sleep 0.2; echo broken >&2; exit 3")
    control.until(lambda: control.tails)

    (tail,) = control.tails
    assert (tail["container"], tail["container_id"], tail["exit_code"]) == ("web", container, 3)
    assert {entry["message"] for entry in tail["entries"]} == {str(n) for n in range(302, 501)} | {"broken"}
    assert "cursor" not in tail["entries"][0]


def test_the_last_lines_of_a_container_that_is_removed_at_once(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.begin()
    program = "trap 'echo goodbye; exit 0' TERM; seq 1 50; while true; do sleep 0.05; done"
    for _ in range(5):
        container = on_host.run(service, program)
        time.sleep(0.5)
        on_host.host.docker("stop", container)
        on_host.host.docker("rm", container)
        on_host.containers.remove(container)
    control.until(lambda: len(control.tails) == 5)

    for tail in control.tails:
        assert [entry["message"] for entry in tail["entries"]] == [*map(str, range(1, 51)), "goodbye"]
        assert tail["exit_code"] == 0


def test_what_happened_while_the_agent_was_down_is_told_once(
    on_host: AgentOnHost, control: Control, service: str
) -> None:
    on_host.begin()
    on_host.run(service, "exit 1")
    control.until(lambda: len(control.events) == 2)
    on_host.kill()
    on_host.run(service, "exit 2")
    on_host.begin()
    control.until(lambda: len(control.events) >= 4)

    assert [(event["type"], event["exit_code"]) for event in control.events] == [
        ("start", None),
        ("die", 1),
        ("start", None),
        ("die", 2),
    ]


# a job's output


def test_a_jobs_output_is_followed_through_its_parts_to_its_end(on_host: AgentOnHost, control: Control) -> None:
    job, folder = "job_abcdefgh12345678", f"/home/{on_host.host.user}/.slipway/jobs"
    script = (
        'mkdir -p "$0/$1.pull.1"; echo "{\\"at\\": 1}" >"$0/$1.pull.1/start";'
        'printf "one\\ntwo\\nth" >"$0/$1.pull.1/log"'
    )
    on_host.host.exec("sh", "-c", script, folder, job, user=on_host.host.user)
    on_host.begin()
    follower = control.follow(job, tail="all")
    control.until(lambda: len(follower.got) >= 2)
    script = (
        'printf "ree\\n" >>"$0/$1.pull.1/log";'
        'mkdir "$0/$1.up.1"; echo "{\\"at\\": 2}" >"$0/$1.up.1/start"; printf "started\\nlast" >"$0/$1.up.1/log"'
    )
    on_host.host.exec("sh", "-c", script, folder, job, user=on_host.host.user)
    control.until(lambda: len(follower.got) >= 4)
    assert not follower.ended
    control.job_is_over(job)
    control.until(lambda: follower.ended)

    told = [(entry["container"], entry["message"]) for entry in follower.got]
    assert told == [("pull", "one"), ("pull", "two"), ("pull", "three"), ("up", "started"), ("up", "last")]
    later = control.follow(job, cursor=follower.got[1]["cursor"])
    tail = control.follow(job, tail=3)
    control.until(lambda: later.ended and tail.ended)
    assert later.messages() == ["three", "started", "last"] == tail.messages()
