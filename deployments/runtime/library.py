"""Opens TensorFlow's runtime library and declares the part of its C API that serving needs.

The library comes with the `tensorflow` wheel, but Python TensorFlow is never imported: that would cost seconds and
hundreds of megabytes in every process. The declarations are from the wheel's `include/tensorflow/c`.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any, Final

import cffi

from core.errors import Code, FailedPrecondition, RuntimeFailure

ffi: Final = cffi.FFI()
ffi.cdef("""
typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_Graph TF_Graph;
typedef struct TF_Operation TF_Operation;
typedef struct TF_Session TF_Session;
typedef struct TF_SessionOptions TF_SessionOptions;
typedef struct TF_Buffer {
  const void* data;
  size_t length;
  void (*data_deallocator)(void* data, size_t length);
} TF_Buffer;
typedef struct TF_Output { TF_Operation* oper; int index; } TF_Output;
typedef struct TF_TString { uint64_t words[3]; } TF_TString;

const char* TF_Version(void);
TF_Status* TF_NewStatus(void);
void TF_DeleteStatus(TF_Status*);
int TF_GetCode(const TF_Status*);
const char* TF_Message(const TF_Status*);

typedef struct TF_Library TF_Library;
TF_Library* TF_LoadLibrary(const char* library_filename, TF_Status*);
TF_Buffer TF_GetOpList(TF_Library*);
void TF_DeleteLibraryHandle(TF_Library*);
TF_Buffer* TF_GetAllRegisteredKernels(TF_Status*);
TF_Buffer* TF_GetAllOpList(void);

TF_Buffer* TF_NewBuffer(void);
void TF_DeleteBuffer(TF_Buffer*);

size_t TF_TensorDefaultAlignment(void);
TF_Tensor* TF_NewTensor(int dtype, const int64_t* dims, int num_dims, void* data, size_t len,
                        void (*deallocator)(void* data, size_t len, void* arg), void* arg);
TF_Tensor* TF_AllocateTensor(int dtype, const int64_t* dims, int num_dims, size_t len);
void TF_DeleteTensor(TF_Tensor*);
int TF_NumDims(const TF_Tensor*);
int64_t TF_Dim(const TF_Tensor*, int dim_index);
size_t TF_TensorByteSize(const TF_Tensor*);
void* TF_TensorData(const TF_Tensor*);

void TF_StringCopy(TF_TString* dst, const char* src, size_t size);
const char* TF_StringGetDataPointer(const TF_TString*);
size_t TF_StringGetSize(const TF_TString*);
void TF_StringDealloc(TF_TString*);

TF_Graph* TF_NewGraph(void);
void TF_DeleteGraph(TF_Graph*);
void TF_GraphGetOpDef(TF_Graph*, const char* op_name, TF_Buffer* output_op_def, TF_Status*);
TF_Operation* TF_GraphOperationByName(TF_Graph*, const char* name);
TF_Operation* TF_GraphNextOperation(TF_Graph*, size_t* position);
const char* TF_OperationOpType(TF_Operation*);
int TF_OperationNumOutputs(TF_Operation*);
int TF_OperationOutputType(TF_Output);

TF_SessionOptions* TF_NewSessionOptions(void);
void TF_DeleteSessionOptions(TF_SessionOptions*);
void TF_SetConfig(TF_SessionOptions*, const void* proto, size_t length, TF_Status*);
TF_Session* TF_LoadSessionFromSavedModel(const TF_SessionOptions*, const TF_Buffer* run_options, const char* export_dir,
                                         const char* const* tags, int tags_len, TF_Graph*, TF_Buffer* meta_graph_def,
                                         TF_Status*);
void TF_CloseSession(TF_Session*, TF_Status*);
void TF_DeleteSession(TF_Session*, TF_Status*);
void TF_SessionRun(TF_Session*, const TF_Buffer* run_options,
                   const TF_Output* inputs, TF_Tensor* const* input_values, int ninputs,
                   const TF_Output* outputs, TF_Tensor** output_values, int noutputs,
                   const TF_Operation* const* targets, int ntargets, TF_Buffer* run_metadata, TF_Status*);
""")

LIBRARY_NAMES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")

CALLED_BY_FINALIZERS = (
    "TF_NewStatus",
    "TF_DeleteStatus",
    "TF_DeleteBuffer",
    "TF_CloseSession",
    "TF_DeleteSession",
    "TF_DeleteGraph",
)

_opening = threading.Lock()
_opened: list[Any] = []
_thread = threading.local()


def library() -> Any:
    """Return the runtime library; the first call of the process opens it, which takes about half a second."""
    with _opening:
        if not _opened:
            # Local visibility (cffi's default): with global visibility, numpy crashes when it is imported later.
            # Never unloaded: the end of the interpreter may close it before its exit handlers have run, and they crash.
            opened = ffi.dlopen(str(library_path()), ffi.RTLD_NOW | ffi.RTLD_NODELETE)
            # cffi makes a function at its first use, under a lock that its holder's garbage collector would wait for.
            for name in CALLED_BY_FINALIZERS:
                getattr(opened, name)
            _opened.append(opened)
        return _opened[0]


def register_operations() -> None:
    """Register all operations now, and not at the first load; like opening the library, it starts no thread."""
    lib = library()
    lib.TF_DeleteBuffer(lib.TF_GetAllOpList())


def library_path() -> Path:
    """Find the library in the installed wheel without running any of the wheel's Python."""
    spec = importlib.util.find_spec("tensorflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    for candidate in (Path(folder) / name for folder in folders for name in LIBRARY_NAMES):
        if candidate.exists():
            return candidate
    raise FailedPrecondition(f"TensorFlow's runtime library ({LIBRARY_NAMES[0]}) is not installed here")


def new_status(lib: Any) -> Any:
    """Make a status that frees itself; it may be used again and again, by one thread at a time."""
    return ffi.gc(lib.TF_NewStatus(), lib.TF_DeleteStatus)


def thread_status(lib: Any) -> Any:
    """Return the status that this thread uses for all of its runs."""
    try:
        return _thread.status
    except AttributeError:
        _thread.status = new_status(lib)
        return _thread.status


def check(lib: Any, status: Any) -> None:
    """Raise the error that TensorFlow reports, if any."""
    number = lib.TF_GetCode(status)
    if number:
        raise RuntimeFailure(_code(number), c_text(lib.TF_Message(status)))


def c_text(pointer: Any) -> str:
    """Read a C string, whose bytes need not be correct UTF-8."""
    return str(ffi.string(pointer), "utf-8", "replace")


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN
