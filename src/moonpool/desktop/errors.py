"""What can go wrong with a desktop."""

from moonpool.errors import GuestError


class DesktopToolMissing(GuestError):
    code = "desktop_tool_missing"
    default = "This sandbox has no desktop"
    default_hint = "Create it from the snapshot daytona-desktop; the operator offers it with MOONPOOL_DESKTOP=true."


class RecorderMissing(DesktopToolMissing):
    code = "desktop_recorder_missing"
    default = "ffmpeg is not installed in this sandbox"


class DesktopNotStarted(GuestError):
    code = "desktop_not_started"
    default = "The desktop does not run"
    default_hint = "Start it first."


class DesktopFailed(GuestError):
    """One of its programs could not do what it was asked; its words are the message."""

    code = "desktop_failed"
    default = "The desktop failed"


class DesktopProcessNotFound(GuestError):
    code = "desktop_process_not_found"
    default = "The desktop has no such process"


class RecordingNotFound(GuestError):
    code = "recording_not_found"
    default = "Recording not found"


class RecordingActive(GuestError):
    code = "recording_active"
    default = "The recording still runs"
    default_hint = "Stop it first."


class AccessibilityUnavailable(GuestError):
    code = "accessibility_unavailable"
    default = "Accessibility is not available in this sandbox"


class NodeNotFound(GuestError):
    code = "accessibility_node_not_found"
    default = "No such element is on the screen"
    default_hint = "Look at the tree again: elements go when windows change."
