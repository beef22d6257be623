from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec


async def test_gives_output_and_exit_code(agent: AgentClient) -> None:
    result = await agent.run(ProcessSpec(shell="echo out; echo err >&2; exit 3"))
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
