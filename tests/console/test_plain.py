"""Plain lines: what a file, a pipe or a CI log gets."""

from __future__ import annotations

import io
from collections.abc import Iterable

from ikoma_play.console.narrator import Narrator
from ikoma_play.console.plain import PlainView
from ikoma_play.console.terminal import Looks
from ikoma_play.events import Event, PlayStarted, StepFinished, StepRetried, StepStarted, Warned
from ikoma_play.model import Diff, Failure, Outcome, Position

from .story import AT, RUN, failed, finished, outcome, run, step, told

AGAIN = ("ikoma-play", "run", "deploy.yml", "-e", "app=my shop")


def shown(events: Iterable[Event], verbosity: int = 0, diff: bool = False, colour: bool = False) -> str:
    stream = io.StringIO()
    view = PlainView(stream, Looks(colour=colour), Narrator(verbosity, diff), AGAIN)
    for event in events:
        view(event)
    return stream.getvalue()


def test_a_good_run_reads_like_its_phases() -> None:
    text = shown(
        run(
            told(step("Make the structure", phase="Initialisation"), outcome("changed", seconds=1.24)),
            told(step("Only on staging"), outcome("skipped")),
            told(step("Bring it up"), outcome("ok", attempts=3)),
            told(step("Say where", "debug"), outcome(message="It answers on http://127.0.0.1:8080/health.")),
            told(step("List", "debug"), outcome(message="failed: http://127.0.0.1:1/\nfailed: http://127.0.0.1:2/")),
        )
    )
    assert text == (
        "PLAY Deploy (web1)\n"
        "PHASE Initialisation\n"
        "changed: [web1] Make the structure (1.2 s)\n"
        "PHASE Deployment\n"
        "ok: [web1] Bring it up (3 attempts)\n"
        "ok: [web1] Say where\n"
        "    It answers on http://127.0.0.1:8080/health.\n"
        "ok: [web1] List\n"
        "    failed: http://127.0.0.1:1/\n"
        "    failed: http://127.0.0.1:2/\n"
        "RECAP\n"
        "web1: ok=4  changed=1  skipped=1  failed=0  time=1.2s\n"
        "Done in 2.0 s: 1 step changed something.\n"
        "  Open http://127.0.0.1:8080/health\n"
    )


def test_a_failure_shows_where_what_why_and_the_remedy() -> None:
    broken = step("Bring it up", "deploy.up", line=12, appName="shop", env={"A": "1"}, text="two\nlines")
    text = shown(run(told(broken, failed(seconds=31.2))))
    assert (
        "failed: [web1] Bring it up (31 s)\n"
        "    deploy.yml:12:5\n"
        '    deploy.up appName=shop env={"A": "1"} text=two … (2 lines)\n'
        "    it ended with exit code 1\n"
        "    | $ false\n"
        "    | first\n"
        "    | last\n"
        "    Try harder.\n"
    ) in text
    assert "Failed on web1 after 2.0 s. Nothing was undone.\n" in text
    assert f"  $ ikoma-play runs resume {RUN}\n" in text and f"  $ ikoma-play runs rollback {RUN}\n" in text


def test_a_failed_loop_names_the_items_that_failed() -> None:
    items = (outcome("ok", item="a"), failed(item={"name": "b"}), failed(item="c"))
    text = shown(run(told(step("Each"), failed(items=items))))
    assert '    {"name": "b"}: it ended with exit code 1\n' in text
    assert "    c: it ended with exit code 1\n" in text
    assert "    a:" not in text


def test_no_log_shows_nothing_but_the_status() -> None:
    secret = step("Set the password", "command", cmd="canary-argument")
    hidden = failed(hidden=True, message="canary-message", result={"stdout": "canary-result"})
    text = shown(run(told(secret, hidden)), verbosity=3, diff=True)
    assert "failed: [web1] Set the password" in text
    assert "no_log" in text
    assert "canary" not in text and "first" not in text


def test_rolled_back_and_not_rolled_back() -> None:
    undo = told(step("Drop the database"), outcome("rolled_back"), kind="rollback")
    text = shown(run(told(step("Bring it up"), failed()), undo, undone=True))
    assert "PHASE Rolling back\nrolled_back: [web1] Drop the database\n" in text
    assert "rolled_back=1" in text
    assert "Failed on web1 after 2.0 s and everything was rolled back.\n" in text
    assert "$ ikoma-play run deploy.yml -e 'app=my shop'\n" in text
    assert "resume" not in text, "what was undone must be started from the beginning"
    bad = told(step("Drop the database"), outcome("rollback_failed"), kind="rollback")
    text = shown(run(told(step("Bring it up"), failed()), bad))
    assert "a rollback handler failed too" in text and "A person must look" in text


def test_an_unreachable_host_is_told_apart() -> None:
    text = shown(run(told(step("Look"), outcome("unreachable"))))
    assert "unreachable: [web1] Look" in text
    assert "unreachable=1" in text
    assert "$ ikoma-play exec ping -l web1" in text


def test_an_interrupted_run_says_so() -> None:
    text = shown(run(told(step("Look"), outcome()), interrupted=True))
    assert "Interrupted after 2.0 s." in text


def test_warnings_come_once_at_the_end() -> None:
    warned = Warned(RUN, AT, "old spelling", Position("deploy.yml", 7, 3))
    text = shown(run(warned, told(step("Look"), outcome(warnings=("careful",))), warned))
    assert text.count("old spelling") == 1 and "warning: deploy.yml:7:3: old spelling (2 times)\n" in text
    assert text.index("Look") < text.index("careful") < text.index("RECAP")


def test_verbosity_adds_what_was_quiet() -> None:
    events = [
        *told(step("Left out"), outcome("skipped")),
        *told(step("Run it", cmd="id", chdir="/srv"), outcome(result={"rc": 0}, message="it ran")),
        *told(step("Each"), outcome(items=(outcome("changed", item="a"), outcome(item="b")))),
    ]
    quiet, results, arguments = (shown(run(iter(events)), level) for level in (0, 1, 2))
    assert "skipped: [web1] Left out" not in quiet and '{"rc": 0}' not in quiet
    assert "skipped: [web1] Left out" in results
    assert '    it ran\n    {"rc": 0}\n' in results
    assert "    changed: a\n    ok: b\n" in results
    assert "command cmd=id" not in results
    assert "    deploy.yml:3:5\n    command cmd=id chdir=/srv\n" in arguments


def test_differences_are_shown_when_asked_for() -> None:
    write = told(step("Write"), outcome("changed", diffs=(Diff("/etc/x", "a\nb\n", "a\nc\n"),)))
    events = list(run(write))
    assert "    -b\n    +c\n" in shown(events, diff=True)
    assert "-b" not in shown(events)


def test_retries_are_told_while_they_wait() -> None:
    again = StepRetried(RUN, AT, step("Wait for it"), "web1", 2, 5, 3.0, failed())
    assert "retrying: [web1] Wait for it (attempt 2 of 5, again in 3.0 s)\n" in shown(run(again))


def test_many_hosts_with_the_same_outcome_share_a_line() -> None:
    hosts = [f"web{number}" for number in range(1, 31)]
    one, two = step("First"), step("Second")
    first = [event for host in hosts for event in told(one, outcome("changed"), host)]
    second = [event for host in hosts for event in told(two, failed() if host == "web7" else outcome(), host)]
    text = shown(run(iter(first + second), hosts=hosts))
    assert "changed: [all 30 hosts] First\n" in text
    assert "ok: [29 hosts: web1, web2, …] Second\n" in text
    assert "failed: [web7] Second\n    deploy.yml:3:5\n" in text
    assert "29 hosts: web1, web2, …: ok=2" in text, "equal rows of the recap share a line"
    assert len(text.splitlines()) < 30, text


def test_the_same_failure_on_many_hosts_is_told_once() -> None:
    """But for names, addresses and arguments; another cause or another step is told in full."""
    hosts = [f"web{number:02}" for number in range(30)]
    one, two = step("Start"), step("Look", line=9)

    def ended(number: int) -> Outcome:
        said = f"web{number:02}: 10.0.3.{number}:22 refuses the connection"
        if number % 3 == 0:
            return outcome("unreachable", failure=Failure("unreachable", said, "Start it."))
        return outcome("failed", failure=Failure("failed", f"exit code {3 if number == 7 else 1}")) \
            if number % 3 == 1 else outcome("changed")  # fmt: skip

    first = [StepStarted(RUN, AT, one, "Start", host, "step", {"cmd": host}) for host in hosts]
    first += [StepFinished(RUN, AT, one, "Start", host, "step", {"cmd": host}, ended(number))
              for number, host in reversed(list(enumerate(hosts)))]  # fmt: skip
    second = [event for host in hosts[2::3] for event in told(two, ended(1), host)]
    text = shown(run(iter(first + second), hosts=hosts))
    assert text.count("refuses the connection") == 1 and text.count("exit code 3") == 1
    assert text.count("exit code 1") == 2, f"once for each step\n{text}"
    assert "unreachable: [9 hosts: web00, web03, …] Start (as on web27)\n" in text, text
    assert "failed: [8 hosts: web01, web04, …] Start (as on web28)\n" in text, text
    assert "changed: [10 hosts: web02, web05, …] Start\n" in text and "failed: [web07] Start\n" in text


def test_many_hosts_at_their_own_pace_lose_nothing() -> None:
    hosts = [f"web{number}" for number in range(12)]
    steps = [step(f"Step {number}") for number in range(4)]
    # Each host is one step further than the one before it.
    events = [event for turn in range(16) for place, host in enumerate(hosts) for event in
              (told(steps[turn - place], outcome("changed"), host) if 0 <= turn - place < 4 else ())]  # fmt: skip
    text = shown(run(iter(events), hosts=hosts))
    told_of = sum(
        12 if "all 12 hosts" in line else int(line.split("[")[1].split(" hosts")[0]) if " hosts:" in line
        else line.count("web") for line in text.splitlines() if line.startswith("changed:")
    )  # fmt: skip
    assert told_of == 48, f"every outcome is told once\n{text}"


def test_what_a_host_prints_cannot_steer_the_terminal() -> None:
    nasty = "\x1b]0;owned\x07\x1b[2Jred\x1b[31m\x9b1mX\x07\r\nline\u202etwo"
    text = shown(run(told(step(f"Name {nasty}"), failed(message=nasty)), Warned(RUN, AT, nasty)), 3)
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text), repr(text)
    assert "\x9b" not in text and "\u202e" not in text


def test_colours_only_when_they_are_wanted() -> None:
    events = list(run(told(step("Look"), outcome("changed"))))
    assert "\x1b" not in shown(events)
    coloured = shown(events, colour=True)
    assert "\x1b[33mchanged: [web1] Look\x1b[0m\n" in coloured


def test_a_play_without_hosts() -> None:
    text = shown([PlayStarted(RUN, AT, "Nobody", ())])
    assert text == "PLAY Nobody (no hosts)\n"
    assert "No host was worked on." in shown(run(hosts=()))


def test_each_line_is_written_at_once() -> None:
    class Watched(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed = len(self.getvalue())

    stream = Watched()
    view = PlainView(stream, Looks(), Narrator(), AGAIN)
    view(PlayStarted(RUN, AT, "Deploy", ("web1",)))
    view(finished(step("Look"), outcome()))
    assert stream.flushed == len(stream.getvalue()) > 0
