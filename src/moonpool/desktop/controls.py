"""Mouse and keyboard, by xdotool."""

from collections.abc import Sequence

from moonpool.desktop.errors import DesktopFailed
from moonpool.desktop.keys import combination, keysym, modifier
from moonpool.desktop.model import Button, Direction, Point
from moonpool.desktop.programs import attempt, run
from moonpool.desktop.screen import WHERE, Screen, place
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import AgentSession

BUTTONS = {Button.LEFT: "1", Button.MIDDLE: "2", Button.RIGHT: "3"}
WHEEL = {Direction.UP: "4", Direction.DOWN: "5", Direction.LEFT: "6", Direction.RIGHT: "7"}
CLICKS_LIMIT = 20
SCROLL_LIMIT = 1000
CLICK_DELAY = "40"  # milliseconds between the clicks of a double click
DRAG_STEPS = 8  # programs take a jump of the pointer for no drag
TEXT_LIMIT = 100_000  # characters
DELAY_LIMIT = 5000  # milliseconds between keystrokes
TYPING_TIMEOUT = 600.0  # seconds


class Controls:
    """InvalidInput for places beyond the screen and for keys that there are not; then nothing was done."""

    def __init__(self, session: AgentSession) -> None:
        self._session = session

    async def position(self) -> Point:
        return await Screen(self._session).pointer()

    async def move(self, to: Point) -> Point:
        return await self._mouse(to)

    async def click(
        self, at: Point, button: Button = Button.LEFT, *, clicks: int = 1, modifiers: Sequence[str] = ()
    ) -> Point:
        if not 1 <= clicks <= CLICKS_LIMIT:
            raise InvalidInput(f"clicks must be from 1 to {CLICKS_LIMIT}", field="clicks")
        action = ("click", "--repeat", str(clicks), "--delay", CLICK_DELAY, BUTTONS[button])
        return await self._mouse(at, *held(modifiers, action))

    async def press(self, at: Point | None, button: Button, *, down: bool) -> Point:
        return await self._mouse(at, "mousedown" if down else "mouseup", BUTTONS[button])

    async def drag(
        self, start: Point, end: Point, button: Button = Button.LEFT, *, modifiers: Sequence[str] = ()
    ) -> Point:
        await self._check(end)
        action = ["mousedown", BUTTONS[button]]
        for step in range(1, DRAG_STEPS + 1):
            x = start.x + (end.x - start.x) * step // DRAG_STEPS
            y = start.y + (end.y - start.y) * step // DRAG_STEPS
            action += ["mousemove", str(x), str(y), "sleep", "0.01"]
        return await self._mouse(start, *held(modifiers, [*action, "mouseup", BUTTONS[button]]))

    async def scroll(self, at: Point, direction: Direction, amount: int = 1, *, modifiers: Sequence[str] = ()) -> None:
        if not 0 <= amount <= SCROLL_LIMIT:
            raise InvalidInput(f"amount must be from 0 to {SCROLL_LIMIT}", field="amount")
        action = ("click", "--repeat", str(amount), "--delay", "1", WHEEL[direction]) if amount else ()
        await self._mouse(at, *held(modifiers, action))

    async def type(self, text: str, *, delay: int = 12) -> None:
        """``delay`` in milliseconds between keystrokes."""
        if len(text) > TEXT_LIMIT or "\0" in text:
            raise InvalidInput(f"text must have up to {TEXT_LIMIT} characters and no NUL", field="text")
        if not 0 <= delay <= DELAY_LIMIT:
            raise InvalidInput(f"delay must be from 0 to {DELAY_LIMIT} milliseconds", field="delay")
        if text:
            command = ("xdotool", "type", "--delay", str(delay), "--file", "-")
            await run(self._session, *command, stdin=text.encode(), timeout=TYPING_TIMEOUT)

    async def key(self, name: str, modifiers: Sequence[str] = ()) -> None:
        await self._keys("key", "+".join((*map(modifier, modifiers), keysym(name))))

    async def hotkey(self, keys: str) -> None:
        await self._keys("key", combination(keys))

    async def hold(self, name: str, *, down: bool) -> None:
        await self._keys("keydown" if down else "keyup", keysym(name))

    async def _keys(self, action: str, keys: str) -> None:
        """xdotool says nothing by its exit code of a key that it does not know."""
        result = await attempt(self._session, ("xdotool", action, "--", keys))
        said = result.stderr.decode(errors="replace")
        if "No such key name" in said:
            raise InvalidInput(f"'{keys}' is no key", field="key", hint="Names are X's: Return, F5, ctrl, a.")
        if result.exit_code:
            raise DesktopFailed(said.strip())

    async def _mouse(self, at: Point | None, *action: str) -> Point:
        move: tuple[str, ...] = ()
        if at is not None:
            await self._check(at)
            move = ("mousemove", str(at.x), str(at.y))
        return place(await run(self._session, "xdotool", *move, *action, *WHERE))

    async def _check(self, at: Point) -> None:
        size = await Screen(self._session).size()
        if not (0 <= at.x < size.width and 0 <= at.y < size.height):
            raise InvalidInput(f"The screen has {size.width} x {size.height} pixels", field="x")


def held(modifiers: Sequence[str], action: Sequence[str]) -> tuple[str, ...]:
    names = [modifier(name) for name in modifiers]
    before = [word for name in names for word in ("keydown", name)]
    after = [word for name in reversed(names) for word in ("keyup", name)]
    return (*before, *action, *after)
