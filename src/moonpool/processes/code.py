"""Code of a language, run once."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonpool.access.model import Principal
from moonpool.errors import InvalidInput
from moonpool.guest.model import ProcessResult, ProcessSpec
from moonpool.guest.protocol import parsed
from moonpool.processes.inside import source
from moonpool.processes.service import ProcessService

# Code that may be a module, which older Nodes do not find out by themselves: then it takes the way of TypeScript.
MODULE_WORDS = re.compile(r"^[^\S\n]*(import|export)\b|\bawait\b", re.MULTILINE)

# The first of these that the image has. esbuild only drops the types, in milliseconds; what it cannot make a plain
# script of (await at the top) becomes a module. The result goes to the input of node, as JavaScript does: packages are
# looked for where the code runs.
COMPILED_SCRIPT = """\
if command -v esbuild >/dev/null 2>&1; then
  text=$(cat; echo .)
  compile() { printf %s "${text%.}" | esbuild --loader="$0" --platform=node --log-level=error "$@"; }
  if code=$(compile --format=cjs 2>/dev/null); then set -- - "$@"
  elif code=$(compile --format=esm); then set -- --input-type=module - "$@"
  else exit 1; fi
  printf '%s\\n' "$code" | node "$@"
  exit
fi
if [ "$0" = js ]; then exec node - "$@"; fi
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cat >"$folder/main.ts"
if command -v tsx >/dev/null 2>&1; then tsx "$folder/main.ts" "$@"
elif command -v ts-node >/dev/null 2>&1; then ts-node --transpile-only "$folder/main.ts" "$@"
elif node --experimental-strip-types -e 0 >/dev/null 2>&1; then
  node --no-warnings --experimental-strip-types "$folder/main.ts" "$@"
else
  echo "TypeScript needs esbuild, tsx, ts-node or Node.js 22.6 in the image" >&2
  exit 127
fi
"""


@dataclass(frozen=True)
class Code:
    text: str
    language: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None  # seconds


@dataclass(frozen=True)
class CodeResult:
    """``process.stdout`` is both streams in order, without the charts (the dictionaries of ``inside/charts.py``)."""

    process: ProcessResult
    output: bytes
    charts: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Runtime:
    """``argv`` of the code and its arguments, ``stdin`` of the word and the code."""

    argv: Callable[[str, tuple[str, ...]], tuple[str, ...]]
    stdin: Callable[[str, bytes], bytes] = lambda _word, code: code


def _node(code: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return _compiled("js", arguments) if MODULE_WORDS.search(code) else ("node", "-", *arguments)


def _compiled(loader: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    return ("sh", "-c", COMPILED_SCRIPT, loader, *arguments)


RUNTIMES: Mapping[str, Runtime] = {
    "python": Runtime(
        lambda _code, arguments: ("python3", "-u", "-c", source("run_code.py"), source("charts.py"), *arguments),
        lambda word, code: word.encode() + b"\n" + code,
    ),
    "javascript": Runtime(_node),
    "typescript": Runtime(lambda _code, arguments: _compiled("ts", arguments)),
}


class CodeService:
    def __init__(self, processes: ProcessService) -> None:
        self._processes = processes

    async def run(self, principal: Principal, sandbox: str, code: Code) -> CodeResult:
        """Raises InvalidInput for a language that is not in ``RUNTIMES``."""
        runtime = RUNTIMES.get(code.language)
        if runtime is None:
            raise InvalidInput(f"language must be one of {', '.join(RUNTIMES)}", field="language")
        word = secrets.token_hex(16)
        spec = ProcessSpec(
            argv=runtime.argv(code.text, code.arguments),
            env=dict(code.environment),
            timeout=code.timeout,
            stdin=True,
            merge_output=True,
        )
        stdin = runtime.stdin(word, code.text.encode(errors="surrogatepass"))
        process = await self._processes.run(principal, sandbox, spec, stdin=stdin)
        output, charts = split_charts(process.stdout, word)
        return CodeResult(process, output, charts)


def split_charts(output: bytes, word: str) -> tuple[bytes, tuple[dict[str, Any], ...]]:
    """Charts cut short by a timeout or the output limit are none, and neither is what the code itself wrote there."""
    text, found, charts = output.rpartition(f"\n{word}".encode())
    if not found:
        return output, ()
    try:
        told = parsed(charts)
    except (ValueError, RecursionError):
        return text, ()
    return text, tuple(chart for chart in told if isinstance(chart, dict)) if isinstance(told, list) else ()
