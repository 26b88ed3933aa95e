from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
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
