# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in Python that only reads, on more than one core.

Threads share one interpreter; a forked process has one of its own, and all that was read before.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import typing as t

if t.TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = t.TypeVar("Item")
Result = t.TypeVar("Result")


def cores() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(
    items: t.Sequence[Item], work: t.Callable[[t.Sequence[Item]], Result], *, least: int
) -> t.Iterator[tuple[t.Sequence[Item], Result | None]]:
    """Split ``items`` into shares of about ``least`` or more, and yield each with what ``work`` returns of it.

    The result is None where the caller has to do the work itself: for the first share, while processes of their own
    work on the others; and for any other share whose process could not be started, or failed. The processes end with
    the loop. ``work`` must not write; its result is pickled.
    """
    count = max(1, min(cores(), len(items) // least))
    size = max(1, -(-len(items) // count))
    shares = [items[start : start + size] for start in range(0, len(items), size)]
    with contextlib.ExitStack() as processes:
        results = [processes.enter_context(_forked(functools.partial(work, share))) for share in shares[1:]]
        for share, result in zip(shares, [_nothing, *results], strict=False):  # no item, no share
            yield share, result()


def collected(
    items: t.Sequence[Item], work: t.Callable[[t.Sequence[Item]], list[Result]], *, least: int
) -> list[Result]:
    """Return what ``work`` gives for all ``items``, as :func:`shared_out` shares them."""
    found: list[Result] = []
    for share, result in shared_out(items, work, least=least):  # a list comprehension would keep an error's processes
        found += work(share) if result is None else result
    return found


def _nothing() -> None:
    return None


@contextlib.contextmanager
def _forked(work: t.Callable[[], Result]) -> t.Iterator[t.Callable[[], Result | None]]:
    """Have a process of its own do ``work`` until the block ends; what is yielded waits for the result, or None."""
    if sys.platform != "linux":  # elsewhere, libraries of the system may not survive a fork
        yield _nothing
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # Until the block has begun, the end of a task's time would leave a process behind that nobody knows. A signal
        # that came a moment before raises here.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        started = _fork_with_pipe()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    if started is None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield _nothing
        return
    child, receiver, sender = started
    if child == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            receiver.close()  # or who writes would wait for ever when the parent has been killed
            sender.send(work())
        finally:
            os._exit(0)  # whatever was raised, and without exit handlers: they are its parent's
    sender.close()

    def result() -> Result | None:
        try:
            return t.cast("Result", receiver.recv())
        except (EOFError, OSError):
            return None

    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield result
    finally:
        receiver.close()
        _end(child)


def _fork_with_pipe() -> tuple[int, Connection, Connection] | None:
    """Return what ``os.fork`` does and both ends of a pipe; None without more processes, descriptors or memory."""
    import multiprocessing.connection  # noqa: PLC0415  (few runs have so much to do)

    try:
        receiver, sender = multiprocessing.connection.Pipe(duplex=False)
        return os.fork(), receiver, sender
    except OSError:
        return None


def _end(child: int) -> None:
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(child, os.WNOHANG) == (0, 0):  # else its number may be another's by now
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
