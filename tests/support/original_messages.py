"""TensorFlow's and TensorFlow Serving's own messages, read from their generated modules as data; nothing is imported."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

FOREIGN = "google/protobuf/"


def _described(module: Path) -> descriptor_pb2.FileDescriptorProto:
    """Return what a generated module describes: the serialized bytes that it hands to protobuf's pool."""
    for node in ast.walk(ast.parse(module.read_bytes())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "AddSerializedFile"
        ):
            return descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))
    raise AssertionError(f"{module} describes nothing")


def original_pool(folder: Path, protos: Iterable[str]) -> DescriptorPool:
    """Return a pool of these .proto files and all that they import, from the packages in a folder."""
    pool, seen = DescriptorPool(), set()

    def add(proto: str) -> None:
        if proto in seen:
            return
        seen.add(proto)
        if proto.startswith(FOREIGN):
            foreign = import_module(proto.removesuffix(".proto").replace("/", ".") + "_pb2")
            pool.AddSerializedFile(foreign.DESCRIPTOR.serialized_pb)
            return
        module = proto.removesuffix(".proto") + "_pb2.py"
        places = [folder / module, folder / "tensorflow" / "compiler" / module]
        file = _described(next(one for one in places if one.exists()))
        for one in file.dependency:
            add(one)
        pool.AddSerializedFile(file.SerializeToString())

    for proto in protos:
        add(proto)
    return pool


def own_messages(file: FileDescriptor, without: frozenset[str] = frozenset()) -> list[Descriptor]:
    """List the messages of a file and those within them, but for some."""
    found, waiting = [], list(file.message_types_by_name.values())
    while waiting:
        one = waiting.pop()
        if one.name not in without:
            found.append(one)
            waiting += one.nested_types
    return found


def reachable(descriptor: Descriptor) -> Iterator[Descriptor]:
    """Yield a message and all that it may contain."""
    seen, waiting = {descriptor.full_name}, [descriptor]
    while waiting:
        one = waiting.pop()
        yield one
        inner = [field.message_type for field in one.fields if field.message_type is not None]
        waiting += [other for other in inner if other.full_name not in seen]
        seen |= {other.full_name for other in inner}


def field_facts(descriptor: Descriptor, package: str) -> dict[int, tuple[Any, ...]]:
    """Return what JSON and the wire show of each field, by number; types without their package."""
    return {field.number: _facts(field, package) for field in descriptor.fields}


def _facts(field: FieldDescriptor, package: str) -> tuple[Any, ...]:
    message, enum = field.message_type, field.enum_type
    # An enum's own name is on no wire and in no JSON.
    kind = message.full_name.removeprefix(package + ".") if message else enum_values(enum) if enum else ""
    oneof = field.containing_oneof.name if field.containing_oneof else ""
    return field.name, field.json_name, field.type, field.is_repeated, field.is_packed, field.has_presence, oneof, kind


def enum_values(enum: EnumDescriptor) -> dict[str, int]:
    """Return the values of an enum but for those that nobody may use."""
    return {one.name: one.number for one in enum.values if not one.name.startswith("DO_NOT_USE")}


def filled(descriptor: Descriptor, chance: random.Random, depth: int = 5) -> Message:
    """Return a message with random values in most of its fields."""
    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if chance.random() < 0.8 and (depth or field.message_type is None):
            _fill(made, field, chance, depth - 1)
    return made


def _fill(made: Message, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"].message_type
        for key in ("a", "ä <b>"):
            getattr(made, field.name)[key].CopyFrom(filled(value, chance, depth))
    elif field.message_type is not None and field.is_repeated:
        getattr(made, field.name).extend(filled(field.message_type, chance, depth) for _ in range(2))
    elif field.message_type is not None:
        getattr(made, field.name).CopyFrom(filled(field.message_type, chance, depth))
    elif field.is_repeated:
        getattr(made, field.name).extend([_scalar(field, chance), _scalar(field, chance)])
    else:
        setattr(made, field.name, _scalar(field, chance))


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.enum_type is not None:
        return chance.choice([one.number for one in field.enum_type.values])
    return {
        FieldDescriptor.CPPTYPE_STRING: chance.choice([b"\x00\xff", b""])
        if field.type == FieldDescriptor.TYPE_BYTES
        else "ä\n",
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: chance.choice([0.1, float("nan"), float("-inf"), 1e300]),
        FieldDescriptor.CPPTYPE_FLOAT: chance.choice([0.5, float("inf"), 3e38]),
        FieldDescriptor.CPPTYPE_INT32: chance.choice([-7, 2**31 - 1]),
        FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
        FieldDescriptor.CPPTYPE_INT64: chance.choice([-7, 2**63 - 1]),
        FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
    }[field.cpp_type]


def tensorflows(proto: str, message: str) -> Any:
    """Return the class of one of TensorFlow's own messages, as a test writes or reads it; nothing is imported."""
    spec = find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    pool = original_pool(Path(spec.origin).parents[1], [proto])
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message))
