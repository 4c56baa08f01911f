"""Bounded, ordered fetch ahead: threads work, the caller takes the results in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How often the waiting caller looks up: a signal or a failure elsewhere is noticed that soon."""


class _Job(Generic[T]):
    """One call and the place its result goes to."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.future: Future[T] = Future()

    def run(self) -> None:
        """Run the call, unless nobody waits for it any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
            self.future.set_exception(error)


def fetch_ahead(
    calls: Iterable[Callable[[], T]], *, threads: int, on_poll: Callable[[], None]
) -> Generator[T, None, None]:
    """Yield the results of `calls` in their order, running up to `threads` of them at once.

    At most twice as many calls as threads are taken from `calls` ahead of the result being waited
    for, so memory stays bounded. `on_poll` is called about every `POLL_SECONDS` of waiting and
    between results; what it raises ends the iteration. So does the first call that fails, even
    while an earlier one still runs. Calls not yet begun are then dropped, as they are when the
    generator is closed, which whoever may leave it early has to see to; the threads are daemons
    (unlike ThreadPoolExecutor's, which the interpreter joins at exit), so that a hanging call can't
    delay the end of the process.
    """
    inbox: queue.SimpleQueue[_Job[T] | None] = queue.SimpleQueue()
    pending: deque[_Job[T]] = deque()
    workers: list[threading.Thread] = []
    source = iter(calls)
    try:
        while True:
            while len(pending) < 2 * threads and (call := next(source, None)) is not None:
                job = _Job(call)
                pending.append(job)
                inbox.put(job)
                if len(workers) < threads:
                    workers.append(_start_worker(inbox))
            if not pending:
                break
            on_poll()
            yield _result_of_first(pending, on_poll)
    finally:
        for job in pending:
            job.future.cancel()
        for _ in workers:
            inbox.put(None)
    for worker in workers:
        worker.join()


def _start_worker(inbox: queue.SimpleQueue[_Job[T] | None]) -> threading.Thread:
    worker = threading.Thread(target=_work, args=(inbox,), name="nexudus-fetch", daemon=True)
    worker.start()
    return worker


def _work(inbox: queue.SimpleQueue[_Job[T] | None]) -> None:
    while (job := inbox.get()) is not None:
        job.run()


def _result_of_first(pending: deque[_Job[T]], on_poll: Callable[[], None]) -> T:
    first = pending[0].future
    while not wait([first], timeout=POLL_SECONDS).done:
        for job in pending:
            if job.future.done() and (error := job.future.exception()):
                raise error
        on_poll()
    pending.popleft()
    return first.result()
