"""What can go wrong with sessions, terminals and interpreters, beyond what the agent itself answers."""

from moonpool.errors import Conflict, ProcessEnded, ProcessNotFound


class SessionNotFound(ProcessNotFound):
    code = "session_not_found"
    default = "Session not found"


class SessionExists(Conflict):
    code = "session_exists"
    default = "A session with this id exists already"


class SessionEnded(ProcessEnded):
    """The session's shell has exited; ``details`` has its ``exit_code``."""

    code = "session_ended"
    default = "The session has ended"
    default_hint = "Delete it, then create a new one."


class SessionCommandNotFound(ProcessNotFound):
    code = "session_command_not_found"
    default = "Command not found in this session"


class SessionCommandCompleted(ProcessEnded):
    code = "session_command_completed"
    default = "The command has already completed"


class TerminalNotFound(ProcessNotFound):
    code = "terminal_not_found"
    default = "Terminal not found"


class TerminalExists(Conflict):
    code = "terminal_exists"
    default = "A terminal with this id exists already"


class TerminalEnded(ProcessEnded):
    code = "terminal_ended"
    default = "The terminal has ended"


class InterpreterNotFound(ProcessNotFound):
    code = "interpreter_not_found"
    default = "Interpreter context not found"
