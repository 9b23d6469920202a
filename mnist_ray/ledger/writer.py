"""Records are written in a thread of its own, so that a slow bucket delays nothing else.

The thread writes what has come in as one batch, at most twice a second. Every few seconds it lists
the folder: that is how two sweeps into one folder see each other's records.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.record import Record, join

MOST_WAITING = 5000
"""How many records may wait to be written: some seconds of the fastest sweeps."""
WRITE_SECONDS = 0.5
LOOK_SECONDS = 5.0

_Waiting = tuple[Record, Callable[[], None] | None]
"""A record, and what is to be done before it is written."""


class LedgerWriter:
    """Writes records into a ledger, and finds what other sweeps write there.

    A record is safe once `written` has returned it. As a context manager, the writer is closed at
    the end; where an error or Ctrl-C ends the block, what waits is still written.
    """

    def __init__(self, ledger: Ledger, records: Mapping[str, Record]) -> None:
        """Start the thread. `records` are what was read from the ledger, by key."""
        self._ledger = ledger
        self._known = dict(records)
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._written: list[Record] = []
        self._of_others: list[Record] = []
        self._error: BaseException | None = None
        self._is_closing = False
        # A daemon, so that a second Ctrl-C ends the program while a bucket is out of reach.
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> "LedgerWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        if kind is None:
            self._raise_error()

    def put(self, record: Record, *, before: Callable[[], None] | None = None) -> None:
        """Have a record written soon. Waits while too many are waiting.

        `before` is called in the thread before the record is written, such as to write what must be
        there first.

        Raises:
            InputError, StorageError: as `written`.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MOST_WAITING or self._error)
            self._raise_error()
            self._waiting.append((record, before))
            self._changed.notify_all()

    def written(self) -> list[Record]:
        """The records that are safe since this was last asked, each joined to what was known.

        Raises:
            InputError: another sweep wrote what this version does not understand.
            StorageError: the folder cannot be written or read any more. What was written before is
                returned first.
        """
        return self._taken(self._written)

    def of_others(self) -> list[Record]:
        """What other sweeps have recorded since this was last asked, joined to what was known.

        Raises:
            InputError, StorageError: as `written`.
        """
        return self._taken(self._of_others)

    def _taken(self, records: list[Record]) -> list[Record]:
        with self._changed:
            taken, records[:] = records[:], []
            if not taken:
                self._raise_error()
            return taken

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _work(self) -> None:
        next_write, next_look, is_last = 0.0, time.monotonic() + LOOK_SECONDS, False
        while not is_last:
            waiting, is_last = self._take(next_write, next_look)
            if waiting:
                next_write = time.monotonic() + WRITE_SECONDS
                self._write(waiting)
                self._ledger.pack_written()
            if not is_last and time.monotonic() >= next_look:
                self._look()
                next_look = time.monotonic() + LOOK_SECONDS

    def _take(self, next_write: float, next_look: float) -> tuple[list[_Waiting], bool]:
        """What waits, when it is time to write or to look; and whether nothing more will come."""
        with self._changed:
            while not self._is_closing:
                due = min(next_write, next_look) if self._waiting else next_look
                if (seconds := due - time.monotonic()) <= 0:
                    break
                self._changed.wait(seconds)
            waiting, self._waiting = self._waiting, []
            self._changed.notify_all()
            return waiting, self._is_closing

    def _write(self, waiting: Iterable[_Waiting]) -> None:
        batch: dict[str, Record] = {}
        for record, before in waiting:
            if before:
                before()
            if joined := join(self._known, record):
                batch[record.key] = joined
        if batch:
            self._ledger.write(list(batch.values()))
        with self._changed:
            self._written += [self._known[record.key] for record, _ in waiting]

    def _look(self) -> None:
        joined = [join(self._known, record) for record in self._ledger.read_new()]
        with self._changed:
            self._of_others += [record for record in joined if record]
