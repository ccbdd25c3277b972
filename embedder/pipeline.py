"""Generators that run ahead in a thread, so that the stages of a pipeline overlap."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def run_ahead(
    items: Iterable[Item], depth: int, stop: threading.Event | None = None
) -> Generator[Item, None, None]:
    """The items, computed in a thread of their own, at most `depth` ahead of the reader.

    An error in the thread is raised where the items are read. When the reader stops early or
    is closed, the thread stops at its next item and its iterable is closed there; `stop` is set
    before that is waited for, so that work within an item can end early.
    """
    handed: queue.Queue[Item | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Item | _End) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                handed.put(item, timeout=0.1)
                return

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                put(item)
                if stopped.is_set():
                    return
            put(_End(None))
        except BaseException as error:  # noqa: BLE001 - handed to the reader, whatever it is
            put(_End(error))
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = handed.get()
            if not isinstance(item, _End):
                yield item
            elif item.error:
                raise item.error
            else:
                return
    finally:
        stopped.set()
        if stop is not None:
            stop.set()
        thread.join()
