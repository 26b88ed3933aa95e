"""Shared libraries of tests, compiled by the C compiler that the server needs anyway; among them one with an operation."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path

TRIPLE = """
#include "tensorflow/c/tf_tensor.h"

/* What TensorFlow's ops.h and kernels.h declare, which a C compiler does not take. */
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;
TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char*);
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder*, const char*);
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder*, const char*);
void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                     void (*)(TF_ShapeInferenceContext*, TF_Status*));
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext*, TF_Status*);
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder*, TF_Status*);
TF_KernelBuilder* TF_NewKernelBuilder(const char*, const char*, void* (*)(TF_OpKernelConstruction*),
                                      void (*)(void*, TF_OpKernelContext*), void (*)(void*));
void TF_RegisterKernelBuilder(const char*, TF_KernelBuilder*, TF_Status*);
void TF_GetInput(TF_OpKernelContext*, int, TF_Tensor**, TF_Status*);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext*, int, TF_DataType, const int64_t*, int, size_t, TF_Status*);

static void compute(void* kernel, TF_OpKernelContext* context) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* in = 0;
  int64_t dims[8];
  TF_GetInput(context, 0, &in, status);
  for (int i = 0; i < TF_NumDims(in); ++i) dims[i] = TF_Dim(in, i);
  size_t bytes = TF_TensorByteSize(in);
  TF_Tensor* out = TF_AllocateOutput(context, 0, TF_FLOAT, dims, TF_NumDims(in), bytes, status);
  const float* x = TF_TensorData(in);
  float* y = TF_TensorData(out);
  for (size_t i = 0; i < bytes / sizeof(float); ++i) y[i] = 3 * x[i];
  TF_DeleteTensor(in);
  TF_DeleteTensor(out);
  TF_DeleteStatus(status);
}

__attribute__((constructor)) static void register_operation(void) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* operation = TF_NewOpDefinitionBuilder("OPERATION");
  TF_OpDefinitionBuilderAddInput(operation, "x: float");
  TF_OpDefinitionBuilderAddOutput(operation, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(operation, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(operation, status);
  TF_RegisterKernelBuilder("OPERATION", TF_NewKernelBuilder("OPERATION", "CPU", 0, compute, 0), status);
  TF_DeleteStatus(status);
}
"""
"""An operation that multiplies float32 by 3, by TensorFlow's API for C."""

GRAPH = """
saved_model_schema_version: 1
meta_graphs {
  meta_info_def { tags: "serve" }
  graph_def {
    node {
      name: "x" op: "Placeholder"
      attr { key: "dtype" value { type: TYPE } }
      attr { key: "shape" value { shape { unknown_rank: true } } }
    }
    node { name: "y" op: "OPERATION" input: "x" }
    versions { producer: 1882 min_consumer: 12 }
  }
  signature_def {
    key: "serving_default"
    value {
      inputs { key: "x" value { name: "x:0" dtype: TYPE tensor_shape { unknown_rank: true } } }
      outputs { key: "y" value { name: "y:0" dtype: TYPE tensor_shape { unknown_rank: true } } }
      method_name: "tensorflow/serving/predict"
    }
  }
}
"""
"""A SavedModel of one operation with one input and one output of the same type."""


def compiled(out: Path, source: str, libraries: Sequence[str] = ()) -> Path:
    """Compile C to a shared library; `libraries` are further arguments of the linker."""
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = spec.submodule_search_locations[0]
    code = out.with_suffix(".c")
    code.write_text(source, encoding="utf-8")
    command = ["gcc", "-shared", "-fPIC", "-O1", f"-I{folder}/include", "-o", out, code, f"-L{folder}", *libraries]
    subprocess.run(command, check=True)
    return out


def triple_library(out: Path, operation: str) -> Path:
    """Compile a library with an operation of this name, which multiplies by 3."""
    return compiled(out, TRIPLE.replace("OPERATION", operation), ["-l:libtensorflow_framework.so.2"])


def version_of_operation(folder: Path, operation: str, dtype: str = "DT_FLOAT") -> Path:
    """Write a version whose graph is one operation."""
    folder.mkdir(parents=True)
    text = GRAPH.replace("OPERATION", operation).replace("TYPE", dtype)
    (folder / "saved_model.pbtxt").write_text(text, encoding="utf-8")
    return folder
