/* One run of a TensorFlow session as one call from Python, and tensors of strings without a call for each string.

   The library is opened by deployments/runtime/library.py, which hands the addresses of its functions over: nothing
   is linked, so one build fits every TensorFlow with this C API. No function touches Python, and each may be called by
   several threads at once. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "session_run.h"

#define NO_MEMORY (-1)
#define FEW_TENSORS 16
#define STRING_TYPE 7

/* TF_TString: all zero bytes are an empty string. */
typedef struct {
  uint64_t words[3];
} string_place;

static tensorflow_functions tf;

void bind_tensorflow(const tensorflow_functions *functions) { tf = *functions; }

static void delete_tensors(void **tensors, int count) {
  for (int at = 0; at < count; at++) {
    if (tensors[at] != NULL) tf.TF_DeleteTensor(tensors[at]);
  }
}

/* Returns the number of tensors made, which is less than wanted where there is no memory. */
static int make_inputs(const run_wiring *wiring, const char *content, const int64_t *extents, void **inputs) {
  for (int at = 0; at < wiring->fed; at++) {
    size_t size = (size_t)extents[0];
    int rank = (int)extents[1];
    inputs[at] = tf.TF_AllocateTensor(wiring->feed_types[at], extents + 2, rank, size);
    if (inputs[at] == NULL) return at;
    if (size > 0) memcpy(tf.TF_TensorData(inputs[at]), content, size);
    content += size;
    extents += 2 + rank;
  }
  return wiring->fed;
}

static void describe(void *tensor, run_output *output) {
  output->tensor = tensor;
  output->data = tf.TF_TensorData(tensor);
  output->size = tf.TF_TensorByteSize(tensor);
  output->rank = tf.TF_NumDims(tensor);
  for (int axis = 0; axis < output->rank; axis++) output->dims[axis] = tf.TF_Dim(tensor, axis);
}

static int run_with(const run_wiring *wiring, void *session, const void *options, void *metadata, void *status,
                    void *const *inputs, void **fetched, run_output *outputs) {
  memset(fetched, 0, (size_t)wiring->fetched * sizeof *fetched);
  tf.TF_SessionRun(session, options, wiring->feeds, inputs, wiring->fed, wiring->fetches, fetched, wiring->fetched,
                   NULL, 0, metadata, status);
  int code = tf.TF_GetCode(status);
  if (code != 0) {
    delete_tensors(fetched, wiring->fetched);
    return code;
  }
  for (int at = 0; at < wiring->fetched; at++) describe(fetched[at], &outputs[at]);
  return code;
}

int session_run(const run_wiring *wiring, void *session, const void *options, void *metadata, void *status,
                void *const *given, const char *content, const int64_t *extents, run_output *outputs) {
  void *few[FEW_TENSORS];
  size_t count = (size_t)wiring->fed + (size_t)wiring->fetched;
  void **tensors = count <= FEW_TENSORS ? few : malloc(count * sizeof *tensors);
  int code = NO_MEMORY;
  if (tensors == NULL) return code;
  void **fetched = tensors + wiring->fed;
  if (given != NULL) {
    code = run_with(wiring, session, options, metadata, status, given, fetched, outputs);
  } else {
    int made = make_inputs(wiring, content, extents, tensors);
    if (made == wiring->fed) code = run_with(wiring, session, options, metadata, status, tensors, fetched, outputs);
    delete_tensors(tensors, made);
  }
  if (tensors != few) free(tensors);
  return code;
}

void release_outputs(run_output *outputs, int count) {
  for (int at = 0; at < count; at++) {
    if (outputs[at].tensor != NULL) tf.TF_DeleteTensor(outputs[at].tensor);
    outputs[at].tensor = NULL;
  }
}

/* TensorFlow calls this when nothing uses the strings any more, on any thread. */
static void give_back_strings(void *data, size_t size, void *argument) {
  string_place *strings = data;
  (void)argument;
  for (size_t at = 0; at < size / sizeof *strings; at++) tf.TF_StringDealloc(&strings[at]);
  free(strings);
}

void *string_tensor(const int64_t *dims, int rank, size_t count, const size_t *sizes, const char *content) {
  string_place *strings = calloc(count > 0 ? count : 1, sizeof *strings);
  if (strings == NULL) return NULL;
  /* Copied, not viewed: operations copy a view's address, which may outlive the value it points to. */
  for (size_t at = 0; at < count; at++) {
    tf.TF_StringCopy(&strings[at], content, sizes[at]);
    content += sizes[at];
  }
  return tf.TF_NewTensor(STRING_TYPE, dims, rank, strings, count * sizeof *strings, give_back_strings, NULL);
}

size_t string_sizes(const void *tensor, size_t count, size_t *sizes) {
  const string_place *strings = tf.TF_TensorData(tensor);
  size_t total = 0;
  for (size_t at = 0; at < count; at++) total += sizes[at] = tf.TF_StringGetSize(&strings[at]);
  return total;
}

void copy_strings(const void *tensor, size_t count, char *content) {
  const string_place *strings = tf.TF_TensorData(tensor);
  for (size_t at = 0; at < count; at++) {
    size_t size = tf.TF_StringGetSize(&strings[at]);
    if (size > 0) memcpy(content, tf.TF_StringGetDataPointer(&strings[at]), size);
    content += size;
  }
}
