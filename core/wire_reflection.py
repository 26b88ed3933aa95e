"""Descriptors for gRPC reflection, under the names that clients know.

Our messages live in a package of their own so that TensorFlow Serving's can be imported beside them; a client that asks
what a server speaks must see TensorFlow Serving's names, or its calls would not find the services.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import FileDescriptor

from core.protos import model_config_pb2, serving_pb2, tensor_pb2

_OWN_PREFIX: Final = "ray_model_server."
_FILE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        tensor_pb2.DESCRIPTOR.name: "tensorflow/tensor.proto",
        model_config_pb2.DESCRIPTOR.name: "tensorflow_serving/model_config.proto",
        serving_pb2.DESCRIPTOR.name: "tensorflow_serving/serving.proto",
    }
)


def descriptor_files() -> tuple[descriptor_pb2.FileDescriptorProto, ...]:
    """List the file descriptors that describe the services, dependencies first."""
    foreign = [_file(module.DESCRIPTOR) for module in (any_pb2, wrappers_pb2)]
    own = [_renamed(_file(module.DESCRIPTOR)) for module in (tensor_pb2, model_config_pb2, serving_pb2)]
    return (*foreign, *own)


def reflection_pool() -> descriptor_pool.DescriptorPool:
    """Make a pool in which the services have TensorFlow Serving's names."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_files():
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _file(descriptor: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file


def _renamed(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    file.name = _FILE_NAMES[file.name]
    file.package = file.package.removeprefix(_OWN_PREFIX)
    file.dependency[:] = [_FILE_NAMES.get(name, name) for name in file.dependency]
    for message in file.message_type:
        _rename_fields(message)
    for service in file.service:
        for method in service.method:
            method.input_type = _public(method.input_type)
            method.output_type = _public(method.output_type)
    return file


def _rename_fields(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.type_name:
            field.type_name = _public(field.type_name)
    for nested in message.nested_type:
        _rename_fields(nested)


def _public(type_name: str) -> str:
    """Rename a type; names of types are absolute and start with a dot."""
    return type_name.replace(f".{_OWN_PREFIX}", ".", 1)
