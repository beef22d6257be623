"""Commands and processes over plain HTTP: exec, list, kill."""

import base64
import secrets
import signal as signals
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.dialects.common.bulk import json_answer
from moonpool.dialects.wrenn.lookup import living
from moonpool.dialects.wrenn.mapping import MAX_INTEGER, capsule_id
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, parse, while_connected
from moonpool.dialects.wrenn.schemas import (
    BackgroundExecResponse,
    Encoding,
    ExecRequest,
    ExecResponse,
    ProcessEntry,
    ProcessListResponse,
)
from moonpool.errors import AgentTimeout, InvalidInput, ProcessNotFound, TooLarge
from moonpool.guest.model import ProcessInfo, ProcessResult, ProcessSpec
from moonpool.processes.service import ProcessService
from moonpool.sandboxes.model import Sandbox

DEFAULT_TIMEOUT = 30  # seconds, of a foreground command
OUTPUT_LIMIT = 64 * 1024 * 1024  # bytes of a foreground command; streams have none
REPLAY_BYTES = 1024 * 1024  # of output kept for those who connect later
SHELLS = frozenset({"sh", "/bin/sh", "/usr/bin/sh", "bash", "/bin/bash", "/usr/bin/bash"})
MAX_ARGUMENT = 128 * 1024  # bytes; what Linux takes as one argument, its NUL included

SIGNALS: Mapping[str, int] = {"SIGKILL": signals.SIGKILL, "SIGTERM": signals.SIGTERM}

router = APIRouter()


@router.post("/v1/capsules/{id}/exec")
async def execute(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    """Foreground: 200 with all output, or an error when the timeout passes. Background: 202 with pid and tag."""
    wanted = await parse(request, ExecRequest)
    sandbox = await living(services, principal, id)
    processes = ProcessService(services.sandboxes)
    if wanted.background:
        tag = wanted.tag or f"proc-{secrets.token_hex(4)}"
        process = await processes.start(principal, sandbox.id, specification(wanted, tag=tag))
        return answer(
            BackgroundExecResponse(sandbox_id=capsule_id(sandbox.id), cmd=wanted.cmd, pid=process.pid, tag=tag), 202
        )
    timeout = foreground_timeout(wanted)
    spec = specification(wanted, timeout=timeout)
    result = await while_connected(request, processes.run(principal, sandbox.id, spec, output_limit=OUTPUT_LIMIT))
    ran = executed(sandbox, wanted, whole(result, timeout))
    return json_answer(ran.model_dump(mode="json", exclude_none=True, by_alias=True))


@router.get("/v1/capsules/{id}/processes")
async def list_processes(id: str, services: Provided, principal: Caller) -> Response:
    sandbox = await living(services, principal, id)
    processes = await ProcessService(services.sandboxes).list(principal, sandbox.id)
    return answer(ProcessListResponse(processes=[entry(process) for process in processes if process.running]))


@router.delete("/v1/capsules/{id}/processes/{selector}")
async def kill_process(
    id: str, selector: str, services: Provided, principal: Caller, signal: str = "SIGKILL"
) -> Response:
    number = SIGNALS.get(signal)
    if number is None:
        raise InvalidInput(f"signal: must be one of {', '.join(SIGNALS)}", field="signal")
    sandbox = await living(services, principal, id)
    processes = ProcessService(services.sandboxes)
    process = await processes.get(principal, sandbox.id, pid_or_tag(selector))
    if not process.running:
        raise ProcessNotFound
    await processes.signal(principal, sandbox.id, process.pid, number)
    return Response(status_code=204)


def foreground_timeout(wanted: ExecRequest) -> float:
    timeout = wanted.timeout_sec or DEFAULT_TIMEOUT
    if not 0 < timeout <= MAX_INTEGER:
        raise InvalidInput(f"timeout_sec: must be 0 to {MAX_INTEGER}", field="timeout_sec")
    return float(timeout)


def whole(result: ProcessResult, timeout: float) -> ProcessResult:
    """Neither a command that was cut short nor one with half its output passes for one that ended."""
    if result.timed_out:
        raise AgentTimeout(
            f"The command was killed after its timeout of {timeout:.0f} seconds",
            hint="Give it a longer timeout_sec, or run it in the background.",
        )
    if result.truncated:
        raise TooLarge(
            f"The command printed more than {OUTPUT_LIMIT // 1024 // 1024} MiB (exit code {result.exit_code})",
            hint="Stream its output, or send it to a file.",
        )
    return result


def executed(sandbox: Sandbox, wanted: ExecRequest, result: ProcessResult) -> ExecResponse:
    """Text where both outputs are UTF-8, else both in base64."""
    try:
        stdout, stderr = result.stdout.decode(), result.stderr.decode()
        encoding = Encoding.utf_8
    except UnicodeDecodeError:
        stdout, stderr = base64.b64encode(result.stdout).decode(), base64.b64encode(result.stderr).decode()
        encoding = Encoding.base64
    return ExecResponse(
        sandbox_id=capsule_id(sandbox.id),
        cmd=wanted.cmd,
        stdout=stdout,
        stderr=stderr,
        exit_code=result.exit_code,
        duration_ms=round(result.duration_ms),
        encoding=encoding,
    )


def specification(wanted: ExecRequest, *, timeout: float | None = None, tag: str | None = None) -> ProcessSpec:
    argv, shell = command(wanted.cmd, wanted.args or [])
    return ProcessSpec(
        argv=argv,
        shell=shell,
        cwd=wanted.cwd or None,
        env=wanted.envs or {},
        timeout=timeout,
        tag=tag,
        replay_bytes=REPLAY_BYTES if tag else 0,
    )


def command(name: str, arguments: list[str]) -> tuple[tuple[str, ...] | None, str | None]:
    """Arguments to run, or a script: the SDK sends every command as ``/bin/sh -c SCRIPT``, and Linux takes no argument
    above 128 KiB, so a longer one goes to the shell by another way."""
    if not name:
        raise InvalidInput("cmd: must not be empty", field="cmd")
    if name in SHELLS and len(arguments) == 2 and arguments[0] == "-c":
        script = arguments[1]
        if len(script.encode()) >= MAX_ARGUMENT:
            return None, script
    return (name, *arguments), None


def pid_or_tag(selector: str) -> int | str:
    return int(selector) if selector.isascii() and selector.isdigit() and len(selector) <= 10 else selector


def entry(process: ProcessInfo) -> ProcessEntry:
    cmd, *arguments = process.argv or ("",)
    return ProcessEntry(pid=process.pid, tag=process.tag or "", cmd=cmd, args=arguments)
