"""As many of a thing as threads use at once, when only one thread may use each."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


def cores() -> int:
    """Returns how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool(Generic[T]):
    """Lends things that only one thread may use at a time, such as interpreters.

    The first is made at once, so that what is wrong with it is known; the others when several
    threads want one at the same time, so that a program of one thread pays for one.
    """

    def __init__(self, make: Callable[[], T], size: int) -> None:
        """Makes the first one.

        Args:
            make: Makes one; all must be alike.
            size: Most there may be, at least 1; who comes when all are lent waits.
        """
        self._make = make
        self._places = threading.Semaphore(size)
        self._idle = [make()]

    @contextmanager
    def lend(self) -> Iterator[T]:
        """Lends one for the time of a ``with`` block."""
        with self._places:
            try:
                thing = self._idle.pop()
            except IndexError:
                thing = self._make()
            try:
                yield thing
            finally:
                self._idle.append(thing)
