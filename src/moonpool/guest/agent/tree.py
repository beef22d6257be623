"""A watched folder, or file, and what the kernel's records about it mean."""

import builtins
import contextlib
import errno
import os
from collections.abc import Iterable
from typing import Any

from . import inotify, search
from .errors import AgentError
from .inotify import Inotify, Record
from .upload import REPLACING, TEMPORARY
from .workers import Stop

MAX_FOLDERS = 65_536  # watched at once by one watch
MAX_EVENTS = 16_384  # of one batch
Event = dict[str, Any]
Events = builtins.list[Event]
ROOT_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT | inotify.IGNORED


class Tree:
    """What is watched: the folder `path`, with those below it where `recursive`; or, for a file, its name in its
    folder, so that a file which is replaced is still the same to who watches it. Links are followed to `path` alone."""

    def __init__(self, path: str, *, recursive: bool, excludes: list[str]) -> None:
        self.path = path.rstrip("/") or "/"
        self.over = False  # the watched folder is gone
        self.stop = Stop()
        self.inotify = Inotify()
        self._recursive, self._excludes = recursive, excludes
        self._root = -1
        self._folders: dict[int, str] = {}  # paths as they are told, by number of the watch
        self._only: str | None = None  # the one name that is meant
        self._present = True  # whether there is something of that name
        # What a look into a new folder has told, and the kernel may tell again. It must not be told twice.
        self._told: set[str] = set()
        self._told_before: set[str] = set()

    # -- watching ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Watch what is there; with the rights of the user. FileNotFoundError, PermissionError."""
        real = os.path.realpath(self.path, strict=True)
        folder = self.path
        if not os.path.isdir(real):
            folder, self._only = os.path.dirname(real), os.path.basename(real)
            self._recursive = False
        own = inotify.DELETE_SELF | inotify.MOVE_SELF
        self._root = self.inotify.add(folder, inotify.CHANGES | own | inotify.ONLY_FOLDERS | inotify.NOT_UNLINKED)
        self._folders[self._root] = folder
        if self._recursive:
            self._watch_below(folder, None)

    def _watch_below(self, top: str, found: Events | None) -> None:
        """Watch the folders below one that is watched; what is in them is added to `found`."""
        waiting = [top]
        while waiting and not self.stop.wanted:
            folder = waiting.pop()
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if self._hidden(entry.path, entry.name):
                        continue
                    if is_folder and self._watch(entry.path):
                        waiting.append(entry.path)
                    if found is not None and len(found) <= MAX_EVENTS and entry.path not in self._told:
                        found.append(_event("created", entry.path, is_folder))
                        self._told.add(entry.path)

    def _watch(self, path: str) -> bool:
        """Whether the folder is there and may be looked into."""
        number = self._add(path)
        if number is None:
            return False
        self._folders[number] = path
        if len(self._folders) > MAX_FOLDERS:
            raise AgentError("limit_exceeded", f"more than {MAX_FOLDERS} folders below {self.path}")
        return True

    def _add(self, path: str) -> int | None:
        mask = inotify.CHANGES | inotify.ONLY_FOLDERS | inotify.NO_LINKS | inotify.NOT_UNLINKED
        try:
            return self.inotify.add(path, mask)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG):
                return None
            raise

    def _forget_below(self, path: str) -> None:
        below = f"{path}/"
        for number, folder in list(self._folders.items()):
            if folder == path or folder.startswith(below):
                del self._folders[number]
                self.inotify.remove(number)

    def _follow(self, old: str, new: str, found: Events) -> None:
        """A folder below has another name. It is watched, unless it had the new name before it could be."""
        number = self._add(new)
        if number is None or self._folders.get(number) == old:
            below = f"{old}/"
            for other, folder in self._folders.items():
                if folder == old or folder.startswith(below):
                    self._folders[other] = new + folder[len(old) :]
        else:
            self._folders[number] = new
            self._watch_below(new, found)

    def _hidden(self, path: str, name: str) -> bool:
        if name.startswith(TEMPORARY):
            return True
        return any(search.matches(path, self.path, pattern) for pattern in self._excludes)

    # -- what has happened ------------------------------------------------------------------------------------------

    def needs_disk(self, records: Iterable[Record]) -> bool:
        """Whether `translate` will have to look into folders."""
        new = inotify.CREATE | inotify.MOVED_TO
        return self._recursive and any(
            record.mask & inotify.Q_OVERFLOW or (record.mask & inotify.IS_FOLDER and record.mask & new)
            for record in records
        )

    def translate(self, records: list[Record]) -> Events:
        """What the records say, in order; repeated changes of the same file are told once."""
        events = Batch()
        leaving = {record.cookie: record for record in records if record.mask & inotify.MOVED_FROM}
        arriving = {record.cookie for record in records if record.mask & inotify.MOVED_TO}
        for record in records:
            if record.mask & inotify.Q_OVERFLOW:
                self._start_over()
                events.add(_event("overflow", self.path, True))
            elif not record.name:
                self._own(record, events)
            elif (folder := self._folders.get(record.watch)) is not None:
                if record.mask & inotify.MOVED_TO:
                    self._moved(leaving.get(record.cookie), record, events)
                elif not (record.mask & inotify.MOVED_FROM and record.cookie in arriving):
                    self._changed(folder, record, events)
            if self.over:
                break
        self._told_before, self._told = self._told, set()
        if len(events.list) > MAX_EVENTS:
            del events.list[MAX_EVENTS:]
            events.add(_event("overflow", self.path, True))
        return events.list

    def _start_over(self) -> None:
        """Records were lost: perhaps of new folders."""
        if self._recursive:
            self._watch_below(self._folders.get(self._root, self.path), None)

    def _own(self, record: Record, events: "Batch") -> None:
        """Something has happened to a watched folder itself; of those below the root their parents tell it."""
        if record.watch == self._root:
            if record.mask & ROOT_GONE:
                self.over = True
                if self._only is None or self._present:
                    events.add(_event("deleted", self.path, self._only is None))
            elif record.mask & inotify.ATTRIB and self._only is None:
                events.add(_event("attributes", self.path, True))
        elif record.mask & inotify.IGNORED:
            self._folders.pop(record.watch, None)

    def _changed(self, folder: str, record: Record, events: "Batch") -> None:
        path, is_folder = os.path.join(folder, record.name), bool(record.mask & inotify.IS_FOLDER)
        if self._only is not None:
            self._only_changed(record, events)
        elif self._hidden(path, record.name):
            return
        elif record.mask & inotify.CREATE:
            self._appeared(path, is_folder, events)
        elif record.mask & (inotify.DELETE | inotify.MOVED_FROM):
            if is_folder and record.mask & inotify.MOVED_FROM:
                self._forget_below(path)
            self._told.discard(path)
            self._told_before.discard(path)
            events.add(_event("deleted", path, is_folder))
        else:
            self._touched(path, record, events)

    def _touched(self, path: str, record: Record, events: "Batch") -> None:
        if record.mask & inotify.ATTRIB:
            events.add(_event("attributes", path, bool(record.mask & inotify.IS_FOLDER)))
        elif record.mask & inotify.MODIFY or not events.knows(path):
            events.add(_event("modified", path, False))

    def _appeared(self, path: str, is_folder: bool, events: "Batch") -> None:
        if path in self._told_before or path in self._told:
            self._told_before.discard(path)
            self._told.discard(path)
            return
        events.add(_event("created", path, is_folder))
        if is_folder and self._recursive and self._watch(path):
            self._watch_below(path, events.list)

    def _moved(self, left: Record | None, record: Record, events: "Batch") -> None:
        """Something has come; `left` is where from, if that is known."""
        if self._only is not None:
            self._only_changed(record, events)
            return
        path, is_folder = os.path.join(self._folders[record.watch], record.name), bool(record.mask & inotify.IS_FOLDER)
        source = self._folders.get(left.watch) if left is not None else None
        old = os.path.join(source, left.name) if left is not None and source is not None else None
        hidden = self._hidden(path, record.name)
        if left is not None and left.name.startswith(TEMPORARY):
            if hidden:
                return
            if left.name.startswith(REPLACING):
                events.add(_event("modified", path, False))
            else:
                self._appeared(path, False, events)
        elif old is None or self._hidden(old, os.path.basename(old)):
            if not hidden:
                self._appeared(path, is_folder, events)
        elif hidden:
            self._forget_below(old)
            events.add(_event("deleted", old, is_folder))
        else:
            events.add(_event("moved", path, is_folder, old))
            if is_folder and self._recursive:
                self._follow(old, path, events.list)

    def _only_changed(self, record: Record, events: "Batch") -> None:
        """Of the one file that is watched."""
        if record.name != self._only:
            return
        if record.mask & (inotify.DELETE | inotify.MOVED_FROM):
            kind, self._present = "deleted", False
        elif record.mask & (inotify.CREATE | inotify.MOVED_TO):
            kind, self._present = "modified" if self._present else "created", True
        else:
            self._touched(self.path, record, events)
            return
        events.add(_event(kind, self.path, bool(record.mask & inotify.IS_FOLDER)))

    def close(self) -> None:
        self.stop.wanted = True
        self.inotify.close()


class Batch:
    """Events in order, without repeated changes of the same file."""

    def __init__(self) -> None:
        self.list: Events = []
        self._repeated: set[tuple[str, str]] = set()

    def knows(self, path: str) -> bool:
        """Whether it has been told that there is something new in this file."""
        return not self._repeated.isdisjoint((("modified", path), ("created", path)))

    def add(self, event: Event) -> None:
        kind, path = event["kind"], event["path"]
        if kind in ("modified", "attributes"):
            if (kind, path) in self._repeated:
                return
        else:
            self._repeated -= {(other, path) for other in ("created", "modified", "attributes")}
        self._repeated.add((kind, path))
        self.list.append(event)


def _event(kind: str, path: str, is_folder: bool, old_path: str | None = None) -> Event:
    return {"kind": kind, "path": path, "is_folder": is_folder, "old_path": old_path}
