"""How much of the GPUs that it sees a model server may take: its neighbours are other versions and models.

TensorFlow alone takes nearly all memory of every GPU at once. One process may do that, several on one GPU may not.
"""

from __future__ import annotations

from core.protos import session_file_pb2


def with_gpu_share(session_config: bytes, num_gpus: float | None) -> bytes:
    """Add to a serialized tensorflow.ConfigProto what `num_gpus` of a model means for memory.

    None (nothing said): every GPU that the process sees, taking memory as it is needed, as others may do the same.
    0: no GPU. Below 1: that share of the GPU's memory. 1 and more: TensorFlow's way, for Ray gives the GPUs to nobody
    else. A share that the operator set for all models (`--per_process_gpu_memory_fraction`) is left alone.
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
