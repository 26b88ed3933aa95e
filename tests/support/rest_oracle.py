"""A slow reading of REST predict bodies straight from the rules, to compare the real codec with.

It parses with the standard library and works element by element with recursion, so it only takes documents of ordinary
depth that are valid JSON.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import numpy as np

from core.inference.dtypes import NUMPY_DTYPE, DataType

RANGES = {
    DataType.INT64: (-(2**63), 2**63),
    DataType.UINT32: (0, 2**32),
    DataType.UINT64: (0, 2**64),
} | dict.fromkeys([DataType.INT32, DataType.INT16, DataType.INT8, DataType.UINT8], (-(2**31), 2**31))
Tensors = dict[str, np.ndarray]


class RefusalError(Exception):
    """What the server must answer instead: name of the code, and the text."""

    def __init__(self, text: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Members(list):
    """An object, as pairs in order."""

    def first(self, key: str) -> Any:
        return next(value for name, value in self if name == key)

    def has(self, key: str) -> bool:
        return any(name == key for name, _ in self)


def parse(text: str) -> Any:
    """Parse the first value of a text; numbers keep the kind that their spelling has, integers beyond 64 bits become floats."""

    def integer(digits: str) -> int | float:
        value = int(digits)
        return value if -(2**63) <= value < 2**64 else float(value)

    decoder = json.JSONDecoder(object_pairs_hook=Members, parse_int=integer)
    return decoder.raw_decode(text.lstrip(" \t\r\n"))[0]


def read(text: str, dtypes: dict[str, DataType]) -> Tensors:
    """Return the tensors of a body, or raise RefusalError."""
    document = parse(text)
    if not isinstance(document, Members):
        raise RefusalError(f"JSON Value: {picture(document)} Is not object")
    rows, columns = document.has("instances"), document.has("inputs")
    if rows and columns:
        text = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise RefusalError(f"JSON Value: {picture(document)} {text}")
    if not rows and not columns:
        raise RefusalError("Missing 'inputs' or 'instances' key")
    if columns:
        return read_columns(document.first("inputs"), dtypes)
    instances = document.first("instances")
    if not is_list(instances):
        raise RefusalError(f"JSON Value: {picture(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise RefusalError(f"JSON Value: {picture(document)} No values in 'instances' array")
    return read_rows(instances, dtypes)


def read_columns(value: Any, dtypes: dict[str, DataType]) -> Tensors:
    if not is_plain_object(value):
        if len(dtypes) > 1:
            raise RefusalError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per tensorinfo_map"
            )
        ((name, dtype),) = dtypes.items()
        return {name: one_tensor(value, dtype)}
    result = {}
    for name in sorted(dtypes):
        if not value.has(name):
            raise RefusalError(f"Missing named input: {name} in 'inputs' object.")
        result[name] = one_tensor(value.first(name), dtypes[name])
    return result


def read_rows(instances: list, dtypes: dict[str, DataType]) -> Tensors:
    if len(dtypes) > 1 and not isinstance(instances[0], Members):
        raise RefusalError(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    stacks: dict[str, list[np.ndarray]] = {name: [] for name in dtypes}
    objects = is_plain_object(instances[0])
    for index, item in enumerate(instances):
        if objects and not is_plain_object(item):
            raise RefusalError(f"Expecting object but got list at item {index} of input list")
        if not objects and is_plain_object(item):
            raise RefusalError(f"Expecting value/list but got object at item {index} of input list")
        if not objects:
            add(stacks, dtypes, min(dtypes), item, f"{index}")
            continue
        seen: list[str] = []
        for name, value in item:
            if name not in seen:
                seen.append(name)
                add(stacks, dtypes, name, value, f"{index} key: {name}")
        if set(seen) != set(dtypes):
            raise RefusalError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {picture(item)} "
                f"keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {name: np.stack(stack) for name, stack in stacks.items() if stack}


def add(stacks: dict, dtypes: dict[str, DataType], name: str, value: Any, place: str) -> None:
    try:
        array = row_tensor(stacks, dtypes, name, value)
    except RefusalError as error:
        text = f"Failed to process element: {place} of 'instances' list. Error: {error.code}: {error.text}"
        raise RefusalError(text) from None
    stacks[name].append(array)


def row_tensor(stacks: dict, dtypes: dict[str, DataType], name: str, value: Any) -> np.ndarray:
    if name not in dtypes:
        raise RefusalError(f"JSON object: does not have named input: {name}")
    array = one_tensor(value, dtypes[name])
    first = stacks[name][0] if stacks[name] else array
    if array.size != first.size:
        raise RefusalError(f"Expecting tensor size: {first.size} but got: {array.size}")
    if array.shape != first.shape:
        raise RefusalError(f"Expecting shape {brackets(first.shape)} but got: {brackets(array.shape)}")
    return array


def one_tensor(value: Any, dtype: DataType) -> np.ndarray:
    shape = []
    walk = value
    while is_list(walk):
        shape.append(len(walk))
        walk = walk[0] if walk else None
    leaves = list(fill(value, 0, shape, dtype))
    array = np.empty(len(leaves), NUMPY_DTYPE[dtype])
    for index, leaf in enumerate(leaves):
        array[index] = leaf
    return array.reshape(shape)


def fill(value: Any, level: int, shape: list[int], dtype: DataType) -> Iterator[Any]:
    if not is_list(value):
        if level != len(shape):
            raise RefusalError(
                f"JSON Value: {picture(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        yield leaf_value(value, dtype)
        return
    if level >= len(shape):
        raise RefusalError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise RefusalError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for part in value:
        yield from fill(part, level + 1, shape, dtype)


def leaf_value(value: Any, dtype: DataType) -> Any:
    wrong = RefusalError(
        f"JSON Value: {picture(value)} Type: {kind_name(value)} is not of expected type: {dtype.name.lower()}"
    )
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype in {DataType.FLOAT, DataType.DOUBLE}:
        if not number:
            raise wrong
        with np.errstate(over="ignore"):
            return np.float64(value).astype(NUMPY_DTYPE[dtype])
    if dtype in RANGES:
        low, high = RANGES[dtype]
        if not number or isinstance(value, float) or not low <= value < high:
            raise wrong
        return np.array(value).astype(NUMPY_DTYPE[dtype])
    if dtype is DataType.BOOL:
        if not isinstance(value, bool):
            raise wrong
        return value
    if dtype is DataType.STRING:
        return string_value(value, wrong)
    raise RefusalError(f"Conversion of JSON Value: {picture(value)} to type: {dtype.name.lower()}", "UNIMPLEMENTED")


def string_value(value: Any, wrong: RefusalError) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, Members):
        raise wrong
    if not is_binary(value):
        raise RefusalError(f"JSON Value: {picture(value)} not formatted correctly for base64 data")
    try:
        return b64decode(value[0][1] + "=" * (-len(value[0][1]) % 4), validate=True)
    except ValueError:
        raise RefusalError("Unable to base64 decode") from None


def is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Members)


def is_binary(value: Any) -> bool:
    return isinstance(value, Members) and len(value) == 1 and value[0][0] == "b64" and isinstance(value[0][1], str)


def is_plain_object(value: Any) -> bool:
    return isinstance(value, Members) and not is_binary(value)


def brackets(shape: tuple[int, ...]) -> str:
    return str(list(shape)).replace(" ", "")


def kind_name(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, Members):
        return "Object"
    return {list: "Array", str: "String"}.get(type(value), "Number")


def picture(value: Any) -> str:
    """Draw a value as error texts do: all tokens, cut after the one that reaches 256 bytes."""
    text = ""
    for token in tokens(value, 0):
        if token is None:
            return text
        text += token
        if len(text.encode()) >= 256:
            return text
    return text


def tokens(value: Any, depth: int) -> Iterator[str | None]:
    if isinstance(value, Members):
        yield "{"
        for index, (name, member) in enumerate(value):
            yield ("," if index else "") + "\n" + "    " * (depth + 1) + json.dumps(name, ensure_ascii=False)
            yield from glued(": ", tokens(member, depth + 1))
        yield "\n" + "    " * depth + "}" if value else "}"
    elif isinstance(value, list):
        yield "["
        for index, part in enumerate(value):
            yield from glued(", " if index else "", tokens(part, depth + 1))
        yield "]"
    elif isinstance(value, float) and not math.isfinite(value):
        yield None
    else:
        yield number_picture(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def glued(prefix: str, parts: Iterator[str | None]) -> Iterator[str | None]:
    """Put the prefix in front of the first token."""
    first = next(parts)
    yield from [prefix, None] if first is None else [prefix + first]
    yield from parts


def number_picture(value: float) -> str:
    """Write the shortest digits; plain notation from 1e-6 up to 1e21."""
    plain = np.format_float_positional(value, unique=True, trim="0")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return plain
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    return f"{mantissa}e{int(exponent)}"
