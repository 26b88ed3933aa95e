from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RestoreEnvelope(_message.Message):
    __slots__ = ("saver_def",)
    class SaverDef(_message.Message):
        __slots__ = ("restore_op_name",)
        RESTORE_OP_NAME_FIELD_NUMBER: _ClassVar[int]
        restore_op_name: str
        def __init__(self, restore_op_name: _Optional[str] = ...) -> None: ...
    SAVER_DEF_FIELD_NUMBER: _ClassVar[int]
    saver_def: RestoreEnvelope.SaverDef
    def __init__(self, saver_def: _Optional[_Union[RestoreEnvelope.SaverDef, _Mapping]] = ...) -> None: ...

class DescribedModel(_message.Message):
    __slots__ = ("meta_graphs",)
    class NodeDef(_message.Message):
        __slots__ = ("op", "device")
        OP_FIELD_NUMBER: _ClassVar[int]
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        op: str
        device: str
        def __init__(self, op: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...
    class FunctionDef(_message.Message):
        __slots__ = ("signature", "node_def")
        class Signature(_message.Message):
            __slots__ = ("name",)
            NAME_FIELD_NUMBER: _ClassVar[int]
            name: str
            def __init__(self, name: _Optional[str] = ...) -> None: ...
        SIGNATURE_FIELD_NUMBER: _ClassVar[int]
        NODE_DEF_FIELD_NUMBER: _ClassVar[int]
        signature: DescribedModel.FunctionDef.Signature
        node_def: _containers.RepeatedCompositeFieldContainer[DescribedModel.NodeDef]
        def __init__(self, signature: _Optional[_Union[DescribedModel.FunctionDef.Signature, _Mapping]] = ..., node_def: _Optional[_Iterable[_Union[DescribedModel.NodeDef, _Mapping]]] = ...) -> None: ...
    class FunctionDefLibrary(_message.Message):
        __slots__ = ("function",)
        FUNCTION_FIELD_NUMBER: _ClassVar[int]
        function: _containers.RepeatedCompositeFieldContainer[DescribedModel.FunctionDef]
        def __init__(self, function: _Optional[_Iterable[_Union[DescribedModel.FunctionDef, _Mapping]]] = ...) -> None: ...
    class GraphDef(_message.Message):
        __slots__ = ("node", "library")
        NODE_FIELD_NUMBER: _ClassVar[int]
        LIBRARY_FIELD_NUMBER: _ClassVar[int]
        node: _containers.RepeatedCompositeFieldContainer[DescribedModel.NodeDef]
        library: DescribedModel.FunctionDefLibrary
        def __init__(self, node: _Optional[_Iterable[_Union[DescribedModel.NodeDef, _Mapping]]] = ..., library: _Optional[_Union[DescribedModel.FunctionDefLibrary, _Mapping]] = ...) -> None: ...
    class MetaInfoDef(_message.Message):
        __slots__ = ("tags", "tensorflow_version")
        TAGS_FIELD_NUMBER: _ClassVar[int]
        TENSORFLOW_VERSION_FIELD_NUMBER: _ClassVar[int]
        tags: _containers.RepeatedScalarFieldContainer[str]
        tensorflow_version: str
        def __init__(self, tags: _Optional[_Iterable[str]] = ..., tensorflow_version: _Optional[str] = ...) -> None: ...
    class AssetFileDef(_message.Message):
        __slots__ = ("filename",)
        FILENAME_FIELD_NUMBER: _ClassVar[int]
        filename: str
        def __init__(self, filename: _Optional[str] = ...) -> None: ...
    class MetaGraphDef(_message.Message):
        __slots__ = ("meta_info_def", "graph_def", "asset_file_def")
        META_INFO_DEF_FIELD_NUMBER: _ClassVar[int]
        GRAPH_DEF_FIELD_NUMBER: _ClassVar[int]
        ASSET_FILE_DEF_FIELD_NUMBER: _ClassVar[int]
        meta_info_def: DescribedModel.MetaInfoDef
        graph_def: DescribedModel.GraphDef
        asset_file_def: _containers.RepeatedCompositeFieldContainer[DescribedModel.AssetFileDef]
        def __init__(self, meta_info_def: _Optional[_Union[DescribedModel.MetaInfoDef, _Mapping]] = ..., graph_def: _Optional[_Union[DescribedModel.GraphDef, _Mapping]] = ..., asset_file_def: _Optional[_Iterable[_Union[DescribedModel.AssetFileDef, _Mapping]]] = ...) -> None: ...
    META_GRAPHS_FIELD_NUMBER: _ClassVar[int]
    meta_graphs: _containers.RepeatedCompositeFieldContainer[DescribedModel.MetaGraphDef]
    def __init__(self, meta_graphs: _Optional[_Iterable[_Union[DescribedModel.MetaGraphDef, _Mapping]]] = ...) -> None: ...

class OperationNames(_message.Message):
    __slots__ = ("op",)
    class OpDef(_message.Message):
        __slots__ = ("name",)
        NAME_FIELD_NUMBER: _ClassVar[int]
        name: str
        def __init__(self, name: _Optional[str] = ...) -> None: ...
    OP_FIELD_NUMBER: _ClassVar[int]
    op: _containers.RepeatedCompositeFieldContainer[OperationNames.OpDef]
    def __init__(self, op: _Optional[_Iterable[_Union[OperationNames.OpDef, _Mapping]]] = ...) -> None: ...

class KernelNames(_message.Message):
    __slots__ = ("kernel",)
    class KernelDef(_message.Message):
        __slots__ = ("op", "device_type")
        OP_FIELD_NUMBER: _ClassVar[int]
        DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
        op: str
        device_type: str
        def __init__(self, op: _Optional[str] = ..., device_type: _Optional[str] = ...) -> None: ...
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    kernel: _containers.RepeatedCompositeFieldContainer[KernelNames.KernelDef]
    def __init__(self, kernel: _Optional[_Iterable[_Union[KernelNames.KernelDef, _Mapping]]] = ...) -> None: ...
