"""Profiles this process for some seconds: its Python threads by sampling, and the operations of TensorFlow's runs.

It costs nothing while no profile is recorded. Threads are sampled from inside, because a profiler outside would need
rights that containers do not have. TensorFlow traces only a share of the runs: tracing every operation makes a small
run several times slower.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from io import FileIO
from threading import Lock

from core.errors import FailedPrecondition
from core.platforms.platform import Loaded
from core.profiling.perfetto_file import trace_file
from core.profiling.profile_request import ProfileForm, RecordingOrder
from core.profiling.recording import ProfiledSpan, Recording, Stack, StackSpans, TracedRun, thread_stacks
from core.profiling.tensorboard_file import xspace_file
from deployments.inference.run_watch import RunWatch
from deployments.platforms.hooked import HookedModel
from deployments.runtime.saved_model import LoadedModel

SAMPLE_EVERY_S = 0.01
TRACE_EVERY_S = 0.02
"""Runs that begin sooner after the last one that was traced are not traced."""

STACKS_FILE = "stacks"
"""The name of the file in memory that a process has open while it records; /proc shows it."""

MOST_ENDED = 64
"""Keys of ended recordings that are remembered: an end may overtake its recording."""

MOST_RUNS = 2000
MOST_METADATA_BYTES = 16 * 1024 * 1024


class Profiler:
    """Records one profile at a time."""

    def __init__(self, loaded: Loaded, about: Mapping[str, object]) -> None:
        self._loaded = loaded
        self._about = about
        self._turn = Lock()
        self._key = ""
        self._ended = threading.Event()
        self._ended_keys: deque[str] = deque(maxlen=MOST_ENDED)

    def record(self, order: RecordingOrder) -> bytes:
        """Record in this thread; returns a file for Perfetto or TensorBoard.

        Raises FailedPrecondition while another profile is recorded.
        """
        if not self._turn.acquire(blocking=False):
            raise FailedPrecondition(
                "A profile of this replica is being recorded already; try again when it has ended."
            )
        try:
            self._ended.clear()
            self._key = order.key
            if order.key in self._ended_keys:  # looked at after the key is set, and `end` does it the other way round
                self._ended.set()
            return self._recorded(order)
        finally:
            self._key = ""
            self._turn.release()

    def end(self, key: str) -> None:
        """End the recording of this key now, or as soon as it comes; what was recorded so far is its profile."""
        if not key:
            return
        self._ended_keys.append(key)
        if key == self._key:
            self._ended.set()

    def _recorded(self, order: RecordingOrder) -> bytes:
        runs = SomeRuns()
        stacks = ThreadStacks()
        began_ns = time.time_ns()
        loaded = _of_tensorflow(self._loaded)
        if loaded is not None:
            loaded.recorder = runs
        try:
            stacks.follow(order.seconds, self._ended)
        finally:
            if loaded is not None:
                loaded.recorder = None
        ended_ns = time.time_ns()
        about = {
            **self._about,
            "seconds": order.seconds,
            "sampled_every_s": SAMPLE_EVERY_S,
            "runs": runs.seen,
            "runs_traced": len(runs.traced),
        }
        recording = Recording(began_ns, about, stacks.names, stacks.spans.end(ended_ns), tuple(runs.traced))
        if order.form is ProfileForm.TENSORBOARD:
            return xspace_file(recording, str(self._about.get("version", "")), ended_ns)
        return trace_file(recording)


def _of_tensorflow(loaded: Loaded) -> LoadedModel | None:
    """Return the SavedModel inside of what may be wrapped around it, None if there is none."""
    while isinstance(loaded, (RunWatch, HookedModel)):
        loaded = loaded.inner
    return loaded if isinstance(loaded, LoadedModel) else None


class SomeRuns:
    """Chooses runs of the model, and keeps TensorFlow's metadata of them."""

    def __init__(self) -> None:
        self.seen = 0
        self.traced: list[TracedRun] = []
        self._metadata_bytes = 0
        self._due_s = 0.0
        self._lock = Lock()

    def begin(self) -> int | None:
        """Return the present time in nanoseconds if the run that begins now should be traced."""
        now_s = time.monotonic()
        with self._lock:
            self.seen += 1
            if now_s < self._due_s or len(self.traced) >= MOST_RUNS or self._metadata_bytes > MOST_METADATA_BYTES:
                return None
            self._due_s = now_s + TRACE_EVERY_S
        return time.time_ns()

    def end(self, began_ns: int, metadata: bytes) -> None:
        """Keep TensorFlow's metadata of a run."""
        run = TracedRun(ProfiledSpan(threading.get_ident(), "run", began_ns, time.time_ns()), metadata)
        with self._lock:
            self.traced.append(run)
            self._metadata_bytes += len(metadata)


class ThreadStacks:
    """Samples the stacks of all threads but the one that samples.

    The interpreter writes them itself, as it does when it crashes: following the frames of other threads from Python
    is not safe while they run (it ended a process by a segmentation fault).
    """

    def __init__(self) -> None:
        self.spans = StackSpans()
        self.names: dict[int, str] = {}

    def follow(self, seconds: float, ended: threading.Event) -> None:
        """Sample until the time is up, or until the recording is ended."""
        ends_s = time.monotonic() + seconds
        with os.fdopen(os.memfd_create(STACKS_FILE), "r+b", buffering=0) as written:
            while (left_s := ends_s - time.monotonic()) > 0 and not ended.is_set():
                self.names.update((one.ident, one.name) for one in threading.enumerate() if one.ident is not None)
                self.spans.sample(time.time_ns(), _stacks(written))
                ended.wait(min(SAMPLE_EVERY_S, left_s))


def _stacks(written: FileIO) -> dict[int, Stack]:
    written.seek(0)
    written.truncate()
    faulthandler.dump_traceback(written, all_threads=True)
    written.seek(0)
    stacks = thread_stacks(written.read().decode("utf-8", "replace"))
    stacks.pop(threading.get_ident(), None)
    return stacks
