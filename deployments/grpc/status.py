"""The gRPC status of each canonical code, for gRPC's own library; which error has which code is in `core.errors`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import grpc

from core.errors import Code

STATUS_CODES: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})


def status_code(code: Code) -> grpc.StatusCode:
    """Return the gRPC status of a code: the one with the same number."""
    return STATUS_CODES.get(int(code), grpc.StatusCode.UNKNOWN)
