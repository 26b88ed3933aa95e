"""Which complete requests begin, and which are held back until there is room for their answers."""

from __future__ import annotations

from core.http2.budget import Http2Limits
from core.http2.calls_in_work import CallsInWork
from core.http2.sending import Sending
from core.http2.streams import Stream

LIMITS = Http2Limits(unread_bytes=100, calls_in_work=2, assumed_answer_bytes=40)


class Begun:
    """Receivers that note in which order their requests begin; implements `core.http2.streams.Receiver`."""

    is_incomplete = True

    def __init__(self, begun: list[bytes]) -> None:
        self.begun = begun

    def data(self, payload: bytes, *, is_last: bool) -> None:
        assert is_last
        self.begun.append(payload)

    def cancelled(self) -> None:
        """Nothing depends on it."""

    def sent(self) -> None:
        """Nothing depends on it."""


class Site:
    """The calls of a connection, each with a letter as its request."""

    def __init__(self) -> None:
        self.sending = Sending()
        self.calls = CallsInWork(LIMITS, self.sending)
        self.begun: list[bytes] = []
        self.streams: dict[str, Stream] = {}

    def take(self, letters: str) -> None:
        for letter in letters:
            stream = self.streams[letter] = Stream(len(self.streams) * 2 + 1)
            stream.receiver = Begun(self.begun)
            self.calls.take(stream, letter.encode())

    @property
    def order(self) -> str:
        return b"".join(self.begun).decode()


def test_requests_begin_while_there_is_room_for_expected_answers() -> None:
    """Two answers of 40 bytes fit into 100 bytes, three do not."""
    site = Site()

    site.take("abcde")
    assert site.order == "abc"
    site.calls.leave(site.streams["b"], 40)
    assert site.order == "abcd"
    site.calls.leave(site.streams["a"], 40)

    assert site.order == "abcde"


def test_small_answers_let_more_requests_begin() -> None:
    """What is expected is an average of the answers so far."""
    site = Site()
    for _ in range(60):
        site.take("x")
        site.calls.leave(site.streams["x"], 1)
    site.begun.clear()

    site.take("abcdefgh")

    assert site.order == "abcdefgh"


def test_few_requests_begin_whatever_is_expected_of_them() -> None:
    """Otherwise a large answer would leave a connection with one call at a time."""
    site = Site()
    for _ in range(60):
        site.take("x")
        site.calls.leave(site.streams["x"], 10_000)
    site.begun.clear()

    site.take("abc")

    assert site.order == "ab"


def test_answers_that_wait_hold_all_requests_back() -> None:
    """A client that takes no answers gets no more of them; when it does, its requests go on in their order."""
    site = Site()
    site.sending.waiting_bytes = 101
    site.take("abc")
    assert site.order == ""

    site.sending.waiting_bytes = 0
    site.calls.release()

    assert site.order == "abc"


def test_a_request_that_is_withdrawn_while_it_is_held_back_never_begins() -> None:
    """Its client has reset the stream."""
    site = Site()
    site.take("abcd")

    site.calls.leave(site.streams["d"])
    site.calls.leave(site.streams["a"], 1)

    assert site.order == "abc"


def test_requests_that_are_answered_at_once_do_not_nest() -> None:
    """A thousand of them would otherwise need a thousand nested calls."""
    site = Site()
    site.sending.waiting_bytes = 101
    depth: list[int] = []
    nested = 0

    class Immediate(Begun):
        def data(self, payload: bytes, *, is_last: bool) -> None:
            nonlocal nested
            nested += 1
            depth.append(nested)
            site.calls.leave(site.streams[payload.decode()], 1)
            nested -= 1

    for letter in "abcdef":
        stream = site.streams[letter] = Stream(ord(letter))
        stream.receiver = Immediate(site.begun)
        site.calls.take(stream, letter.encode())
    site.sending.waiting_bytes = 0
    site.calls.release()

    assert depth == [1] * 6
