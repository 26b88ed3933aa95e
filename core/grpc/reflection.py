"""Descriptors for gRPC reflection, under the names that clients know.

TensorFlow's messages, and those of the Open Inference Protocol, live in packages of ours so that the originals can be
imported beside them; a client that asks for the services of a server must see the original names, or its calls would
not find them. Our own messages keep their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import FileDescriptor

from core.protos import (
    admin_pb2,
    model_config_pb2,
    oip_pb2,
    profiler_pb2,
    serving_pb2,
    tensor_pb2,
    xplane_pb2,
)

_ORIGINALS: Final[Mapping[str, str]] = MappingProxyType(
    {"ray_model_server.tensorflow": "tensorflow", "ray_model_server.inference": "inference"}
)
"""Packages of ours, and those that they stand for."""
_FILE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        tensor_pb2.DESCRIPTOR.name: "tensorflow/tensor.proto",
        model_config_pb2.DESCRIPTOR.name: "tensorflow_serving/model_config.proto",
        serving_pb2.DESCRIPTOR.name: "tensorflow_serving/serving.proto",
        admin_pb2.DESCRIPTOR.name: "ray_model_server/admin.proto",
        oip_pb2.DESCRIPTOR.name: "inference.proto",
        xplane_pb2.DESCRIPTOR.name: "tensorflow/xplane.proto",
        profiler_pb2.DESCRIPTOR.name: "tensorflow/profiler_service.proto",
    }
)


Rename = Callable[[str], str]

OWN_FILES: Final = (tensor_pb2, model_config_pb2, serving_pb2, xplane_pb2, profiler_pb2, admin_pb2, oip_pb2)
"""What our services are described by, dependencies first."""


def descriptor_files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """List the file descriptors that describe our services, dependencies first."""
    foreign = [_file(module.DESCRIPTOR) for module in (any_pb2, wrappers_pb2)]
    own = [_file(module.DESCRIPTOR) for module in OWN_FILES]
    return (*foreign, *(_renamed(file, _FILE_NAMES[file.name], _ORIGINALS) for file in own))


def in_package(descriptor: FileDescriptor, name: str, package: str) -> descriptor_pb2.FileDescriptorProto:
    """Describe the same messages and services once more, as a file of another name and package."""
    return _renamed(_file(descriptor), name, {descriptor.package: package})


def reflection_pool(*more: FileDescriptor | descriptor_pb2.FileDescriptorProto) -> descriptor_pool.DescriptorPool:
    """Make a pool in which our services have TensorFlow Serving's names, with further files that need no others."""
    pool = descriptor_pool.DescriptorPool()
    for file in (*descriptor_files(), *more):
        described = file if isinstance(file, descriptor_pb2.FileDescriptorProto) else _file(file)
        pool.AddSerializedFile(described.SerializeToString())
    return pool


def _file(descriptor: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file


def _renamed(
    file: descriptor_pb2.FileDescriptorProto, name: str, packages: Mapping[str, str]
) -> descriptor_pb2.FileDescriptorProto:
    """Change a file's name, and the beginning of its package and of all names of types; `packages`: old to new."""

    def rename(type_name: str) -> str:
        """Names of types are absolute and start with a dot."""
        for old, new in packages.items():
            type_name = type_name.replace(f".{old}", f".{new}", 1)
        return type_name

    file.name = name
    file.package = rename(f".{file.package}").removeprefix(".")
    file.dependency[:] = [_FILE_NAMES.get(one, one) for one in file.dependency]
    for message in file.message_type:
        _rename_fields(message, rename)
    for service in file.service:
        for method in service.method:
            method.input_type = rename(method.input_type)
            method.output_type = rename(method.output_type)
    return file


def _rename_fields(message: descriptor_pb2.DescriptorProto, rename: Rename) -> None:
    for field in message.field:
        if field.type_name:
            field.type_name = rename(field.type_name)
    for nested in message.nested_type:
        _rename_fields(nested, rename)
