"""The exact JSON parser: accepts and reports what RapidJSON 1.1 does, for texts that simdjson refuses.

It is iterative, so the depth of a document costs memory in proportion and no stack. It reads one value and ignores the
text behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import cast

from core.errors import InvalidArgument
from core.inference.giving_up import go_on
from core.json.exact_tokens import INVALID_VALUE, parse_error, read_scalar, read_string
from core.json.values import JsonObject, Value

SPACE = re.compile(rb"[ \t\n\r]*+")
BYTE_ORDER_MARK = re.compile(rb"\xef?\xbb?\xbf?")
BLANKS = b" \t\n\r"
RUN_STARTS = b"[-0123456789NI"
NOT_A_VALUE = b"]},:\0"
SHORTEST_RUN_BYTES = 64
STEPS = 1000
"""After so many tokens the parser checks whether anyone still waits."""
SPACED_NUMBER = (
    rb"[ \t\n\r]*+"
    rb"(?:-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?|NaN|-?Infinity)"
    rb"[ \t\n\r]*+"
)
"""A number that needs no judgement; the standard library reads it as this module would, but much faster."""
SPACED_LIST = rb"[ \t\n\r]*+\[" + SPACED_NUMBER + rb"(?>," + SPACED_NUMBER + rb"){0,10000}+\][ \t\n\r]*+"
RUN = re.compile(rb"(?>(?:" + SPACED_NUMBER + rb"|" + SPACED_LIST + rb"),){1,10000}+")
"""Plain numbers and lists of them, each with its comma; not so many that other threads would wait for long.

What is repeated is an atomic group: before CPython 3.11.5, a possessive repetition keeps a part of an element that in
the end did not match.
"""
OUTER_BRACKETS = re.compile(rb"\[{1,10000}(?=\[)")
"""Brackets that others follow at once."""

State = Callable[[], "State | None"]


def parse_exactly(text: bytes) -> Value:
    """Read the first value of a text, or raise the error that TensorFlow Serving would give."""
    if not text:
        raise InvalidArgument("JSON Parse error: The document is empty")
    return _Parser(text).run()


def parse_whole(text: bytes) -> Value:
    """As `parse_exactly`, of a text that must hold nothing behind its value."""
    parser = _Parser(text)
    value = parser.run()
    if parser.peek():
        raise parse_error("The document root must not be followed by other values.", parser.at)
    return value


class _Parser:
    __slots__ = ("at", "root", "stack", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = cast(re.Match[bytes], BYTE_ORDER_MARK.match(text)).end()
        self.stack: list[list[Value] | JsonObject] = []
        self.root: Value = None

    def run(self) -> Value:
        state: State | None = self.start
        while state is not None:
            go_on()
            state = _after_steps(state)
        return self.root

    def peek(self) -> bytes:
        """Skip white space and return the next byte; empty at the end."""
        byte = self.text[self.at : self.at + 1]
        if byte not in BLANKS:
            return byte
        self.at = cast(re.Match[bytes], SPACE.match(self.text, self.at)).end()
        return self.text[self.at : self.at + 1]

    def start(self) -> State | None:
        if self.peek() in NOT_A_VALUE:
            raise parse_error("The document is empty.", self.at)
        return self.value()

    def value(self) -> State | None:
        first = self.peek()
        if first in NOT_A_VALUE:
            raise parse_error(INVALID_VALUE, self.at)
        if first == b"[":
            return self.open_arrays()
        if first == b"{":
            return self.open(JsonObject([], []), self.new_object)
        token = read_scalar(self.text, self.at)
        self.at = token.end
        self.attach(token.value)
        return self.after_value()

    def open(self, container: list[Value] | JsonObject, state: State) -> State:
        self.attach(container)
        self.stack.append(container)
        self.at += 1
        return state

    def open_arrays(self) -> State:
        """Open an array, and those that only open others inside it: a token each would make depth expensive."""
        outer = OUTER_BRACKETS.match(self.text, self.at)
        depth = len(outer[0]) if outer else 1
        for _ in range(depth):
            array: list[Value] = []
            self.attach(array)
            self.stack.append(array)
        self.at += depth
        if depth > STEPS:
            go_on()
        return self.new_array

    def attach(self, value: Value) -> None:
        if not self.stack:
            self.root = value
            return
        parent = self.stack[-1]
        if isinstance(parent, list):
            parent.append(value)
        else:
            parent.values.append(value)

    def after_value(self) -> State | None:
        if not self.stack:
            return None
        return self.after_element if isinstance(self.stack[-1], list) else self.after_member

    def close(self) -> State | None:
        self.at += 1
        self.stack.pop()
        return self.after_value()

    def new_array(self) -> State | None:
        first = self.peek()
        if first == b"]":
            return self.close()
        if first in RUN_STARTS:
            self.take_run()
        return self.value()

    def after_element(self) -> State | None:
        following = self.peek()
        if following == b"]":
            return self.close()
        if following != b",":
            raise parse_error("Missing a comma or ']' after an array element.", self.at)
        self.at += 1
        return self.value()

    def take_run(self) -> None:
        """Take a long run of plain elements at once."""
        while (run := RUN.match(self.text, self.at)) and len(run[0]) >= SHORTEST_RUN_BYTES:
            cast(list[Value], self.stack[-1]).extend(json.loads(b"[%b]" % run[0][:-1]))
            self.at = run.end()
            go_on()

    def new_object(self) -> State | None:
        if self.peek() == b"}":
            return self.close()
        return self.member()

    def after_member(self) -> State | None:
        following = self.peek()
        if following == b"}":
            return self.close()
        if following != b",":
            raise parse_error("Missing a comma or '}' after an object member.", self.at)
        self.at += 1
        return self.member()

    def member(self) -> State | None:
        if self.peek() != b'"':
            raise parse_error("Missing a name for object member.", self.at)
        token = read_string(self.text, self.at)
        cast(JsonObject, self.stack[-1]).names.append(cast(str, token.value))
        self.at = token.end
        if self.peek() != b":":
            raise parse_error("Missing a colon after a name of object member.", self.at)
        self.at += 1
        return self.value


def _after_steps(state: State) -> State | None:
    for _ in range(STEPS):
        following = state()
        if following is None:
            return None
        state = following
    return state
