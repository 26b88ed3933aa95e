/* One run of a TensorFlow session as one call from Python, and tensors of strings without a call for each string.

   The library is opened by deployments/runtime/library.py, which hands the addresses of its functions over: nothing
   is linked, so one build fits every TensorFlow with this C API. No function touches Python, and each may be called by
   several threads at once. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "session_run.h"

#define FEW_TENSORS 16

/* TF_TString: all zero bytes are an empty string. */
typedef struct {
  uint64_t words[3];
} string_place;

static tensorflow_functions tf;

void bind_tensorflow(const tensorflow_functions *functions) { tf = *functions; }

static void delete_tensors(void **tensors, int count) {
  for (int at = 0; at < count; at++) {
    if (tensors[at] != NULL) tf.TF_DeleteTensor(tensors[at]);
    tensors[at] = NULL;
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

/* Returns where the extents end. */
static int64_t *describe(const void *tensor, int64_t *extents) {
  int rank = tf.TF_NumDims(tensor);
  *extents++ = (int64_t)tf.TF_TensorByteSize(tensor);
  *extents++ = rank;
  for (int axis = 0; axis < rank; axis++) *extents++ = tf.TF_Dim(tensor, axis);
  return extents;
}

/* Returns whether the bytes of a tensor fit in, behind those that are `used`. */
static int copy_in(const void *tensor, size_t size, const run_room *room, size_t *used) {
  size_t start = (*used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (start > room->content_size || size > room->content_size - start) return 0;
  if (size > 0) memcpy(room->content + start, tf.TF_TensorData(tensor), size);
  *used = start + size;
  return 1;
}

static int take_outputs(const run_wiring *wiring, run_room *room) {
  int64_t *end = room->found + 2;
  int64_t left = 0;
  size_t used = 0;
  for (int at = 0; at < wiring->fetched; at++) {
    size_t size = tf.TF_TensorByteSize(room->tensors[at]);
    end = describe(room->tensors[at], end);
    if (wiring->fetch_types[at] != STRING_TYPE && copy_in(room->tensors[at], size, room, &used)) {
      delete_tensors(&room->tensors[at], 1);
    } else {
      left++;
    }
  }
  room->found[0] = left;
  room->found[1] = (int64_t)used;
  return (int)(end - room->found);
}

static int run_with(const run_wiring *wiring, void *session, const void *options, void *metadata, void *const *inputs,
                    run_room *room) {
  memset(room->tensors, 0, (size_t)wiring->fetched * sizeof *room->tensors);
  tf.TF_SessionRun(session, options, wiring->feeds, inputs, wiring->fed, wiring->fetches, room->tensors,
                   wiring->fetched, NULL, 0, metadata, room->status);
  if (tf.TF_GetCode(room->status) == 0) return take_outputs(wiring, room);
  delete_tensors(room->tensors, wiring->fetched);
  return FAILED;
}

int session_run(const run_wiring *wiring, void *session, const void *options, void *metadata, void *const *given,
                const char *content, const int64_t *extents, run_room *room) {
  if (given != NULL) return run_with(wiring, session, options, metadata, given, room);
  void *few[FEW_TENSORS];
  void **inputs = wiring->fed <= FEW_TENSORS ? few : malloc((size_t)wiring->fed * sizeof *inputs);
  int count = NO_MEMORY;
  if (inputs == NULL) return count;
  int made = make_inputs(wiring, content, extents, inputs);
  if (made == wiring->fed) count = run_with(wiring, session, options, metadata, inputs, room);
  delete_tensors(inputs, made);
  if (inputs != few) free(inputs);
  return count;
}

void release_outputs(const run_wiring *wiring, run_room *room) {
  delete_tensors(room->tensors, wiring->fetched);
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
