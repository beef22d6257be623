"""The code runner: pieces of code in one kernel, rich results, errors, timeouts; in both of the SDK's forms."""

import asyncio
import base64
import socket

# The names of ports are below localhost here, which browsers and curl know and not every machine's resolver does.
resolve = socket.getaddrinfo


def resolve_localhost(host, *arguments, **named):
    name = host.decode() if isinstance(host, bytes) else str(host)
    return resolve("127.0.0.1" if name.endswith(".localhost") else host, *arguments, **named)


socket.getaddrinfo = resolve_localhost

from wrenn.code_runner import AsyncCapsule, Capsule  # noqa: E402

CHART = """
import matplotlib.pyplot as plt, pandas
plt.plot([1, 2, 3])
plt.show()
pandas.DataFrame({"a": [1, 2]})
"""

with Capsule(wait=True) as capsule:
    assert capsule.info.template == "code-runner-beta"
    first = capsule.run_code("import sys\nx = 20\nprint('out')\nprint('err', file=sys.stderr)")
    assert ("".join(first.logs.stdout), "".join(first.logs.stderr), first.error) == ("out\n", "err\n", None)
    second = capsule.run_code("x * 2 + 2")
    assert (second.text, second.execution_count) == ("42", 2)

    heard = []
    rich = capsule.run_code(CHART, on_result=heard.append)
    picture, table = rich.results
    assert heard == rich.results
    assert base64.b64decode(picture.png).startswith(b"\x89PNG")
    assert (picture.is_main_result, table.is_main_result) == (False, True)
    assert "<table" in table.html
    shown = capsule.run_code("from IPython.display import JSON, SVG, display\ndisplay(JSON({'a': 1}), SVG('<svg/>'))")
    assert (shown.results[0].json, shown.results[1].svg) == ({"a": 1}, "<svg/>")

    failed = capsule.run_code("def deep():\n    return 1 / 0\ndeep()")
    assert (failed.error.name, failed.error.value) == ("ZeroDivisionError", "division by zero")
    assert "deep" in failed.error.traceback
    assert capsule.run_code("x").text == "20"

    assert capsule.run_code("import os; os.getcwd(), os.environ['USER']").text == "('/home/wrenn-user', 'wrenn-user')"
    large = capsule.run_code("print('y' * 5_000_000)")
    assert len("".join(large.logs.stdout)) == 5_000_001


async def asynchronous() -> None:
    async with await AsyncCapsule.create(wait=True) as capsule:
        assert (await capsule.run_code("y = 'a'\ny + 'b'")).text == "'ab'"
        late = await capsule.run_code("import time; time.sleep(3)", timeout=1)
        assert late.error.name == "Timeout"  # The kernel goes on with it.
        # Kernels that are copies of one that was started beforehand have random numbers of their own.
        drawn = "import random, numpy\n(random.random(), numpy.random.rand())"
        other = await AsyncCapsule.create(wait=True)
        assert (await capsule.run_code(drawn)).text != (await other.run_code(drawn)).text
        await other.destroy()


asyncio.run(asynchronous())
