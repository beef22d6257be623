"""What the desktop's operations take; as ``models.py``, written by hand."""

from pydantic import StrictBool, StrictInt, StrictStr

from moonpool.dialects.daytona.wire import WireModel


class PointRequest(WireModel):
    x: StrictInt
    y: StrictInt


class ButtonRequest(WireModel):
    button: StrictStr | None = None


class ClickRequest(PointRequest, ButtonRequest):
    double: StrictBool | None = None
    clicks: StrictInt | None = None
    modifiers: list[StrictStr] | None = None


class PressRequest(ButtonRequest):
    x: StrictInt | None = None
    y: StrictInt | None = None


class DragRequest(ButtonRequest):
    startX: StrictInt
    startY: StrictInt
    endX: StrictInt
    endY: StrictInt
    modifiers: list[StrictStr] | None = None


class ScrollRequest(PointRequest):
    direction: StrictStr
    amount: StrictInt | None = None
    modifiers: list[StrictStr] | None = None


class TypeRequest(WireModel):
    text: StrictStr
    delay: StrictInt | None = None


class KeyRequest(WireModel):
    key: StrictStr


class KeyPressRequest(KeyRequest):
    modifiers: list[StrictStr] | None = None


class HotkeyRequest(WireModel):
    keys: StrictStr


class StartRecordingRequest(WireModel):
    label: StrictStr | None = None


class RecordingRequest(WireModel):
    id: StrictStr


class FindNodesRequest(WireModel):
    scope: StrictStr | None = None
    pid: StrictInt | None = None
    role: StrictStr | None = None
    name: StrictStr | None = None
    nameMatch: StrictStr | None = None
    states: list[StrictStr] | None = None
    limit: StrictInt | None = None


class NodeRequest(WireModel):
    id: StrictStr


class InvokeNodeRequest(NodeRequest):
    action: StrictStr | None = None


class NodeValueRequest(NodeRequest):
    value: StrictStr | None = None
