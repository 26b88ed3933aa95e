"""Status and metadata of a model, as REST bodies and as a gRPC answer.

REST bodies look as protobuf's own JSON printer writes them: field names of the messages, 64-bit integers as strings,
defaults printed, one space of indentation, a newline at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import json_format

from core.inference.signature import ServedModel
from core.protos import serving_pb2
from core.versions.lifecycle import VersionStatus
from core.versions.status_message import status_message

_ESCAPED: Final = re.compile("[<>\x7f-\x9f\u2028\u2029]")


def metadata_body(model: ServedModel) -> bytes:
    """Write the answer to `GET /v1/models/<name>/metadata`."""
    signatures = serving_pb2.SignatureDefMap.FromString(model.signature_def_map)
    return _printed(
        {
            "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
            "metadata": {"signature_def": _fields(signatures)},
        }
    )


def status_body(entries: Sequence[VersionStatus], *, is_ready: bool | None = None) -> bytes:
    """Write the answer to `GET /v1/models/<name>`, newest version first.

    A model that is asked about as a whole also says whether it is ready, after all that TensorFlow Serving says:
    KServe's version 1 asks for that field.
    """
    ready = {} if is_ready is None else {"ready": is_ready}
    return _printed(_fields(status_message(entries)) | ready)


def _fields(message: serving_pb2.SignatureDefMap | serving_pb2.GetModelStatusResponse) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _printed(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return (_ESCAPED.sub(_escape, text) + "\n").encode()


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
