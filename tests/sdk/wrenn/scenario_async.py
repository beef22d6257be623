"""The asynchronous client does the same."""

import asyncio

from wrenn import AsyncCapsule
from wrenn.exceptions import WrennNotFoundError
from wrenn.models import Status
from wrenn.pty import PtyEventType


async def pieces(count):
    for number in range(count):
        yield bytes([number % 256]) * 65536


async def main():
    async with await AsyncCapsule.create(wait=True) as capsule:
        assert (await capsule.commands.run("echo hi")).stdout == "hi\n"
        many = await asyncio.gather(*(capsule.commands.run(f"echo {n}") for n in range(20)))
        assert [int(result.stdout) for result in many] == list(range(20))

        handle = await capsule.commands.run("sleep 1000", background=True)
        assert handle.pid in [process.pid for process in await capsule.commands.list()]
        await capsule.commands.kill(handle.pid)
        assert [event.type async for event in capsule.commands.connect(handle.pid)][-1] in ("exit", "error")
        events = [event async for event in capsule.commands.stream("echo streamed")]
        assert [event.type for event in events] == ["start", "stdout", "exit"]

        await capsule.files.write("/tmp/a/b", "text")
        assert await capsule.files.read("/tmp/a/b") == "text"
        assert await capsule.files.exists("/tmp/a/b")
        await capsule.files.make_dir("/tmp/c")
        await capsule.files.make_dir("/tmp/c")
        await capsule.files.upload_stream("/tmp/c/stream", pieces(64))
        size = 0
        async for part in capsule.files.download_stream("/tmp/c/stream"):
            size += len(part)
        assert size == 64 * 65536
        await capsule.files.remove("/tmp/c")

        async with capsule.pty() as term:
            await term.write(b"echo async-$((40+2)); exit 4\n")
            seen, code = b"", None
            async for event in term:
                if event.type == PtyEventType.output:
                    seen += event.data
                elif event.type == PtyEventType.exit:
                    code = event.exit_code
            assert b"async-42" in seen
            assert code == 4

        await capsule.git.init("/home/wrenn-user/repo")
        assert (await capsule.git.status(cwd="/home/wrenn-user/repo")).is_clean

        assert (await capsule.pause(wait=True)).status == Status.paused
        assert (await capsule.resume(wait=True)).status == Status.running
        capsule_id = capsule.capsule_id
    assert (await AsyncCapsule.get_info(capsule_id)).status in (Status.stopping, Status.stopped)
    try:
        await AsyncCapsule.get_info("cl-" + "y" * 20)
    except WrennNotFoundError:
        return
    raise AssertionError("an unknown capsule was found")


asyncio.run(main())
