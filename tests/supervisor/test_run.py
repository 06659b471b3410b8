"""One run from start to end on a real modelled machine: requests over the socket, how it ends, what it leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.machines import Failing, build, flip_the_staged_plan
from vafw.errors import ExitCode, NotRunning, PlatformUnable
from vafw.machine.report import Health
from vafw.supervisor.answers import serve
from vafw.supervisor.requests import Answered, ask, wait_for_end
from vafw.supervisor.run import RunEnded, RunOptions, run
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.snapshot import RunPhase, Snapshot
from vafw.trace import EventKind, Value


async def request(run: RunDirectory, line: bytes) -> dict[str, Any]:
    """Send one line and return the answer."""
    reader, writer = await asyncio.open_unix_connection(run.socket)
    writer.write(line + b"\n")
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return answer


def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory("lab", tmp_path / "run")


async def test_a_run_until_idle_ends_by_itself_and_leaves_its_snapshot(topology: Path, tmp_path: Path) -> None:
    machine, platform = build(topology)
    kept = directory(tmp_path)
    snapshot, _ = await run(
        machine.plan,
        lambda _clock, _trace: (platform, machine.appraiser),
        RunOptions(until_idle=True),
        clock=machine.clock,
        directory=kept,
    )
    assert snapshot.phase is RunPhase.STOPPED
    assert kept.last_snapshot()["phase"] == "stopped"
    assert kept.last_display().startswith(b"\x89PNG")
    assert not kept.socket.exists()


async def test_a_run_whose_traffic_fails_ends_as_failed_with_the_reason_refused(topology: Path, tmp_path: Path) -> None:
    machine, platform = build(topology, turn=7, error=PlatformUnable("the wire was cut"))
    kept = directory(tmp_path)
    with pytest.raises(RunEnded) as refused:
        await run(
            machine.plan,
            lambda _clock, _trace: (platform, machine.appraiser),
            RunOptions(until_idle=True),
            clock=machine.clock,
            directory=kept,
        )
    assert (refused.value.message, refused.value.exit_code) == ("the wire was cut", ExitCode.PLATFORM)
    assert kept.last_snapshot()["phase"] == "failed"
    assert kept.last_snapshot()["reason"] == "the wire was cut"


async def test_a_machine_that_was_quarantined_ends_with_the_gates_exit_code_refused(
    topology: Path, tmp_path: Path
) -> None:
    machine, platform = build(topology)
    kept, up = directory(tmp_path), asyncio.Event()

    def ready(_snapshot: Snapshot) -> None:
        up.set()

    async def attack_and_end() -> dict[str, Any]:
        async with asyncio.timeout(30):
            await up.wait()
        flip_the_staged_plan(machine.provider)
        attested = await request(kept, b'{"request": "attest"}')
        await request(kept, b'{"request": "down"}')
        return attested

    attacking = asyncio.create_task(attack_and_end())
    with pytest.raises(RunEnded) as refused:
        await run(
            machine.plan,
            lambda _clock, _trace: (platform, machine.appraiser),
            RunOptions(),
            clock=machine.clock,
            directory=kept,
            ready=ready,
        )
    assert (await attacking)["data"]["tier"] == "affirming"  # the quote is good; the plan beside it is not
    assert refused.value.exit_code is ExitCode.GATE_FAILED
    assert kept.last_snapshot()["phase"] == "quarantined"


async def test_who_waits_when_the_run_ends_is_told_so_before_the_connection_closes(tmp_path: Path) -> None:
    kept, begun = directory(tmp_path), asyncio.Event()

    async def never() -> Value:
        begun.set()
        return await asyncio.Future()

    with kept.hold():
        async with serve(kept, {"never": never}):
            asking = asyncio.ensure_future(request(kept, b'{"request": "never"}'))
            await begun.wait()
        answer = await asking
    assert (answer["ok"], answer["exit"]) == (False, ExitCode.NOT_RUNNING)
    assert answer["error"] == "lab ended before this was done; what was committed is kept"


async def test_an_answer_that_was_cancelled_from_within_is_refused_and_not_left_out(tmp_path: Path) -> None:
    kept = directory(tmp_path)

    async def cancelled() -> Value:
        raise asyncio.CancelledError

    with kept.hold():
        async with serve(kept, {"cancelled": cancelled}):
            answer = await request(kept, b'{"request": "cancelled"}')
    assert (answer["ok"], answer["exit"]) == (False, ExitCode.NOT_RUNNING)


async def test_a_run_that_is_ended_while_it_starts_stops_what_had_started(topology: Path, tmp_path: Path) -> None:
    machine, platform = build(topology)
    kept, starting = directory(tmp_path), asyncio.Event()

    class Hanging(Failing):
        async def start(self, vm: str) -> Health:
            if vm == "dns":
                starting.set()
                await asyncio.Event().wait()
            return await super().start(vm)

    async def end() -> None:
        await starting.wait()
        await request(kept, b'{"request": "down"}')

    ending = asyncio.create_task(end())
    with pytest.raises(RunEnded) as refused:
        await run(
            machine.plan,
            lambda _clock, _trace: (Hanging(platform.inner, -1, platform.error), machine.appraiser),
            RunOptions(),
            clock=machine.clock,
            directory=kept,
        )
    await ending
    said = "office-laptop was stopped before it was up"
    assert (refused.value.message, refused.value.exit_code) == (said, ExitCode.INTERRUPTED)
    left: Any = kept.last_snapshot()
    phases = {"firewall": "stopped", "dns": "stopped", "user-os": "defined"}
    assert (left["phase"], {vm["name"]: vm["phase"] for vm in left["vms"]}) == ("stopped", phases)
    assert kept.events()[-1]["kind"] == EventKind.PLATFORM_POWERED_OFF


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        (b'{"request": "melt"}', "a request must be one of fails, faulty, status, not 'melt'", ExitCode.NO_SUCH_OBJECT),
        (b"[]", "a request must be one of fails, faulty, status, not None", ExitCode.NO_SUCH_OBJECT),
        (b'{"request": "fails"}', "the TPM does not answer", ExitCode.PLATFORM),
        (
            b'{"request": "faulty"}',
            "this is a fault of vafw: ValueError: invalid literal for int() with base 10: 'x'",
            ExitCode.FAILED,
        ),
    ],
)
async def test_a_request_that_cannot_be_answered_is_refused(
    tmp_path: Path, line: bytes, message: str, code: ExitCode
) -> None:
    kept = directory(tmp_path)

    async def status() -> Value:
        return {"phase": "up"}

    async def fails() -> Value:
        raise PlatformUnable("the TPM does not answer")

    async def faulty() -> Value:
        return int("x")

    with kept.hold():
        async with serve(kept, {"status": status, "fails": fails, "faulty": faulty}):
            answer = await request(kept, line)
            assert (answer["ok"], answer["error"], answer["exit"]) == (False, message, code)
            assert await request(kept, b'{"request": "status"}') == {"ok": True, "data": {"phase": "up"}}


async def test_a_line_that_is_no_json_is_refused(tmp_path: Path) -> None:
    kept = directory(tmp_path)
    with kept.hold():
        async with serve(kept, {}):
            answer = await request(kept, b"status")
    assert (answer["ok"], answer["exit"]) == (False, ExitCode.USAGE)
    assert answer["error"].startswith("a request must be one JSON object a line: ")


async def test_an_asker_that_stays_connected_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    kept = directory(tmp_path)
    with kept.hold():
        async with asyncio.timeout(10):
            async with serve(kept, {}):
                reader, writer = await asyncio.open_unix_connection(kept.socket)
                writer.write(b'{"request": "status"}\n')
                assert json.loads(await reader.readline())["ok"] is False
            assert await reader.read() == b""
            writer.close()


async def test_a_refused_request_raises_with_its_exit_code(tmp_path: Path) -> None:
    kept = directory(tmp_path)

    async def attest() -> Value:
        raise PlatformUnable("the TPM does not answer")

    with kept.hold():
        async with serve(kept, {"attest": attest}):
            with pytest.raises(Answered) as refused:
                await asyncio.to_thread(ask, kept, "attest")
    assert (refused.value.message, refused.value.exit_code) == ("the TPM does not answer", ExitCode.PLATFORM)


async def test_one_that_ends_before_it_answers_is_not_running(tmp_path: Path) -> None:
    kept = directory(tmp_path)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    with kept.hold():
        async with await asyncio.start_unix_server(hang_up, kept.socket):
            with pytest.raises(NotRunning, match="lab ended before it answered"):
                await asyncio.to_thread(ask, kept, "status")


async def test_a_process_that_has_ended_is_not_waited_for() -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    assert wait_for_end(process.pid)


def test_asking_whether_a_directory_is_held_never_keeps_anyone_from_holding_it(tmp_path: Path) -> None:
    kept = directory(tmp_path)
    with kept.hold():
        pass
    with (kept.path / "lock").open():
        assert not kept.is_held()
        with kept.hold():
            assert kept.is_held()
            assert kept.owner() is not None
    assert kept.owner() is None


def test_an_event_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    kept = directory(tmp_path)
    with kept.hold(), kept.event_log() as log:
        log.write('{"kind": "whole"}\n{"kind": "ha')
        log.flush()
        assert kept.events() == [{"kind": "whole"}]
