"""The words spoken to a session's shell, and where its commands keep what they write.

Each command is a folder in the sandbox: ``text``, ``stdout``, ``stderr``, ``status``, and for background ones a named
pipe, ``input`` or (its data not to be repeated in the log) ``quiet``. The shell sources ``text``, so that folder and
environment persist, an unfinished quote breaks nothing but itself, and any length goes; output goes straight to files,
so that it is binary-safe, belongs to the command that wrote it even when a background child writes it later, and
outlives the server. Only a line "ID STATUS" at the end of each command comes over the shell's own output, which no
command inherits.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from uuid import UUID

TAG = "session:"
ROOT = "/var/lib/moonpool/sessions"
SHELLS = (("bash",), ("sh",))

# $? is carried over from one command to the next as in a terminal. Written for bash and POSIX sh.
PRELUDE = b"""\
__moonpool_status=0
__moonpool_restore() { return "$__moonpool_status"; }
__moonpool_finish() {
  __moonpool_status=$?
  echo "$__moonpool_status" >"$1/status"
  echo "${1##*/} $__moonpool_status"
}
"""

# A pipe opened for writing alone waits until the command has opened it, so nothing is lost on a command that has not
# begun. tee writes to its own output first: the log gets the input before the command can answer it.
INPUT_SCRIPT = """\
cd "$0" || exit 1
until [ -p input ] || [ -p quiet ]; do sleep 0.05; done
if [ -p quiet ]; then exec cat >quiet; fi
exec tee input >>stdout
"""

# Everything below the shell, also what left its process group; /proc is read without a process per entry.
KILL_TREE_SCRIPT = """\
doomed=" $0 "
found=1
while [ "$found" = 1 ]; do
  found=0
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue
    pid=${line%% *}
    set -- ${line##*) }
    case "$doomed" in *" $pid "*) continue ;; esac
    case "$doomed" in *" $2 "* | *" $4 "*) doomed="$doomed$pid "; found=1 ;; esac
  done
done
kill -9 $doomed 2>/dev/null
exit 0
"""


def folder_of(session_id: str) -> str:
    """A session's folder: its id may hold anything, the folder's name does not."""
    return f"{ROOT}/{hashlib.sha256(session_id.encode()).hexdigest()[:16]}"


def new_command_id() -> str:
    """A UUID (version 7) that sorts by time, so that a listing of folders is a history."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return str(UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62))


@dataclass(frozen=True)
class CommandFiles:
    folder: str

    @classmethod
    def of(cls, session_id: str, command_id: str) -> "CommandFiles":
        return cls(f"{folder_of(session_id)}/{command_id}")

    @property
    def text(self) -> str:
        return f"{self.folder}/text"

    @property
    def status(self) -> str:
        return f"{self.folder}/status"

    def output(self, stream: str) -> str:
        return f"{self.folder}/{stream}"


def invocation(files: CommandFiles, *, background: bool, echo_input: bool) -> bytes:
    """One line for the shell's input. A command that somebody waits for has no input; one in the background waits for
    what ``INPUT_SCRIPT`` brings."""
    folder = files.folder
    prepare, source = "", "</dev/null"
    if background:
        pipe = f"{folder}/{'input' if echo_input else 'quiet'}"
        prepare, source = f"mkfifo -m 600 {pipe};", f"<>{pipe}"
    body = f"{{ __moonpool_restore;command . {folder}/text;}}>>{folder}/stdout 2>>{folder}/stderr {source}"
    return f"{prepare}{body};__moonpool_finish {folder}\n".encode()
