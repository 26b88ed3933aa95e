"""Options of TensorFlow's session: from flags and their file, completed from a version's CPUs and GPUs.

By default TensorFlow reserves nearly all memory of every GPU at once, which several processes on one GPU must not do.
"""

from __future__ import annotations

import math
from typing import cast

from google.protobuf.descriptor import Descriptor

from core.config.server_settings import SessionSettings
from core.errors import Problem
from core.formats.text_format import parse_text_message, unknown_fields
from core.protos import session_file_pb2

REPLACED_BY_FLAGS = {
    "intra_op_parallelism_threads": "tensorflow_intra_op_parallelism",
    "inter_op_parallelism_threads": "tensorflow_inter_op_parallelism",
    "gpu_options.per_process_gpu_memory_fraction": "per_process_gpu_memory_fraction",
}


def session_config(settings: SessionSettings, text: str = "", file: str = "") -> bytes:
    """Return a serialized tensorflow.ConfigProto from the settings and the text of their file; raises ConfigError.

    Thread counts and the GPU share always come from the settings (TensorFlow Serving, session configuration).
    """
    message = session_file_pb2.ConfigProto()
    if settings.session_config_file:
        parse_text_message(text, message, file, allow_unknown=True)
    message.intra_op_parallelism_threads = settings.intra_op_threads
    message.inter_op_parallelism_threads = settings.inter_op_threads
    message.gpu_options.per_process_gpu_memory_fraction = settings.gpu_memory_fraction
    if settings.bfloat16:
        message.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = session_file_pb2.RewriterConfig.ON
    return message.SerializeToString()


def session_config_warnings(text: str, file: str = "") -> tuple[Problem, ...]:
    """Return a warning for each field of a session file that a flag replaces or that is ignored; raises ConfigError."""
    message, places = parse_text_message(text, session_file_pb2.ConfigProto(), file, allow_unknown=True)
    replaced = tuple(
        Problem(f"has no effect in this file; use --{flag}", file, places.line_of(*field.split(".")), field)
        for field, flag in REPLACED_BY_FLAGS.items()
        if places.has(*field.split("."))
    )
    left_out = (place for place, _ in unknown_fields(places, cast("Descriptor", message.DESCRIPTOR)))
    return (*replaced, *(Problem("is not passed on to TensorFlow", file, one.line, one.name) for one in left_out))


def with_threads(session_config: bytes, num_cpus: float, *, light: bool, limit: int = 0) -> bytes:
    """Add to a serialized tensorflow.ConfigProto how many threads an operation may use.

    A value that the operator set for all models (`--tensorflow_*_parallelism`) is kept. Otherwise the CPUs that Ray
    reserves for the replica count, if it reserves any; then one thread for a light model; then `limit`, the CPUs
    whose time a container has, unless that is 0; then TensorFlow's default, one for each core.
    """
    message = session_file_pb2.ConfigProto.FromString(session_config)
    if message.intra_op_parallelism_threads > 0 or message.inter_op_parallelism_threads > 0:
        return session_config
    if num_cpus > 0:
        message.intra_op_parallelism_threads = message.inter_op_parallelism_threads = math.ceil(num_cpus)
    elif light:
        message.intra_op_parallelism_threads = 1
    elif limit:
        message.intra_op_parallelism_threads = message.inter_op_parallelism_threads = limit
    return message.SerializeToString()


def with_gpu_share(session_config: bytes, num_gpus: float | None) -> bytes:
    """Add to a serialized tensorflow.ConfigProto the GPU memory that `num_gpus` of a model allows.

    None (not configured): every visible GPU, with memory allocated as needed, because other processes may do the same.
    0: no GPU. Below 1: that share of the GPU's memory. 1 and more: TensorFlow's default, because Ray gives these GPUs
    to no other process. A share that the operator set for all models (`--per_process_gpu_memory_fraction`) is kept.
    """
    message = session_file_pb2.ConfigProto.FromString(session_config)
    if num_gpus == 0:
        message.device_count["GPU"] = 0
    elif message.gpu_options.per_process_gpu_memory_fraction > 0:
        return session_config
    elif num_gpus is None:
        message.gpu_options.allow_growth = True
    elif num_gpus < 1:
        message.gpu_options.per_process_gpu_memory_fraction = num_gpus
    return message.SerializeToString()
