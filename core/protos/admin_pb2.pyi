from core.protos import model_config_pb2 as _model_config_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Versions(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[_Iterable[int]] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ("config", "fingerprint", "file_config", "is_requested", "wanted")
    class WantedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Versions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Versions, _Mapping]] = ...) -> None: ...
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FILE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    IS_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    config: _model_config_pb2.ModelServerConfig
    fingerprint: str
    file_config: _model_config_pb2.ModelServerConfig
    is_requested: bool
    wanted: _containers.MessageMap[str, Versions]
    def __init__(self, config: _Optional[_Union[_model_config_pb2.ModelServerConfig, _Mapping]] = ..., fingerprint: _Optional[str] = ..., file_config: _Optional[_Union[_model_config_pb2.ModelServerConfig, _Mapping]] = ..., is_requested: _Optional[bool] = ..., wanted: _Optional[_Mapping[str, Versions]] = ...) -> None: ...

class ChangeConfigRequest(_message.Message):
    __slots__ = ("config", "expected_fingerprint", "force")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    config: _model_config_pb2.ModelServerConfig
    expected_fingerprint: str
    force: bool
    def __init__(self, config: _Optional[_Union[_model_config_pb2.ModelServerConfig, _Mapping]] = ..., expected_fingerprint: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class ChangeConfigResponse(_message.Message):
    __slots__ = ("fingerprint", "generation")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    generation: int
    def __init__(self, fingerprint: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: str
    def __init__(self, document: _Optional[str] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("model", "version", "label", "seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    label: str
    seconds: float
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., label: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class ProfileResponse(_message.Message):
    __slots__ = ("trace", "version")
    TRACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    trace: bytes
    version: int
    def __init__(self, trace: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class TrafficShare(_message.Message):
    __slots__ = ("version", "share")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    version: str
    share: int
    def __init__(self, version: _Optional[str] = ..., share: _Optional[int] = ...) -> None: ...

class MirrorTo(_message.Message):
    __slots__ = ("version", "share", "max_in_flight")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    version: str
    share: int
    max_in_flight: int
    def __init__(self, version: _Optional[str] = ..., share: _Optional[int] = ..., max_in_flight: _Optional[int] = ...) -> None: ...

class ChangeRolloutRequest(_message.Message):
    __slots__ = ("model", "verb", "version", "full", "traffic", "mirror", "expected_generation", "force")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    MIRROR_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    verb: str
    version: int
    full: bool
    traffic: _containers.RepeatedCompositeFieldContainer[TrafficShare]
    mirror: MirrorTo
    expected_generation: int
    force: bool
    def __init__(self, model: _Optional[str] = ..., verb: _Optional[str] = ..., version: _Optional[int] = ..., full: _Optional[bool] = ..., traffic: _Optional[_Iterable[_Union[TrafficShare, _Mapping]]] = ..., mirror: _Optional[_Union[MirrorTo, _Mapping]] = ..., expected_generation: _Optional[int] = ..., force: _Optional[bool] = ...) -> None: ...

class ChangeRolloutResponse(_message.Message):
    __slots__ = ("generation", "record", "text")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    generation: int
    record: str
    text: str
    def __init__(self, generation: _Optional[int] = ..., record: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...
