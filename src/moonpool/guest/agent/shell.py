"""How a shell text is run: by the image's bash, unless that is seen to make no difference.

Starting bash costs more than most commands do. A text that is one plain command, words and quoted words, means the same
without a shell, or in ``sh``; whatever could mean more goes to bash.
"""

import os
import re
import shlex
from collections.abc import Mapping

from .errors import AgentError

BASH = ("/bin/bash", "/usr/bin/bash")
SH = ("/bin/sh", "/usr/bin/sh")
MAX_PLAIN = 4096  # characters
WORD = r"""(?:[A-Za-z0-9_./,:@%+=-]|'[^'\n]*'|"[^"$`\\!\n]*")+"""
PLAIN = re.compile(f" *{WORD}(?: +{WORD})* *")
SAME_IN_SH = {"echo", "true", "false", "pwd", "exit"}
# What bash does itself, or reads as part of its language.
OWN_WORDS = frozenset(
    """
    alias bg bind break builtin caller case cd command compgen complete compopt continue coproc declare dirs disown do
    done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help history if in
    jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set shift shopt
    source suspend test then time times trap true type typeset ulimit umask unalias unset until wait while . : [
    """.split()  # noqa: SIM905 - as words it can be read
)


def plain_words(text: str, environment: Mapping[str, str]) -> list[str] | None:
    """The words of a text that means the same without a shell; None for every other."""
    if len(text) > MAX_PLAIN or not PLAIN.fullmatch(text) or any(name.startswith("BASH") for name in environment):
        return None
    words = shlex.split(text)
    if not words or not words[0] or "=" in words[0] or words[0] in OWN_WORDS - SAME_IN_SH:
        return None
    return words


def same_in_sh(words: list[str]) -> bool:
    """Whether it is a shell's own command that every shell understands alike."""
    return words[0] in SAME_IN_SH and not any(word.startswith("-") or "\\" in word for word in words[1:])


def path(*, small: bool = False) -> str:
    """The image's bash, else its sh; with `small` the other way round."""
    for candidate in (*SH, *BASH) if small else (*BASH, *SH):
        if os.path.exists(candidate):
            return candidate
    raise AgentError("command_not_found", "the image has no shell")
