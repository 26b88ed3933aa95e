/* Drives native/session_run.c against a small library in TensorFlow's place, for sanitizers to watch.

   The library keeps count of what lives, fails at random, gives inputs back as outputs as an identity does, and checks
   what it is handed. Usage: drive_session_run THREADS ROUNDS SEED. Ends with 1 and a text where an answer is wrong or anything is
   left at the end. */

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session_run.h"

#define MOST 20
#define FLOAT_TYPE 1
#define EXPECT(claim) \
  if (!(claim)) fail(#claim, __LINE__)

static void fail(const char *claim, int line) {
  fprintf(stderr, "line %d: %s\n", line, claim);
  exit(1);
}

static atomic_long living_tensors, living_buffers, living_strings;

static unsigned next(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* The library. */

typedef struct {
  atomic_int owners;
  void *data;
  size_t size;
  void (*give_back)(void *data, size_t size, void *argument);
  void *argument;
} buffer;

typedef struct {
  int dtype;
  int rank;
  int64_t *dims; /* of exactly `rank` elements, so that one too many is seen */
  buffer *content;
} tensor;

typedef struct {
  size_t size;
  char *content;
  uint64_t unused;
} string;

typedef struct {
  int code;
} status_of_run;

/* What a session does: it fails with a code, or gives outputs of these shapes; -1 gives an input back. */
typedef struct {
  int code;
  int rank[MOST];
  int64_t dims[MOST][MOST_DIMS];
  int input[MOST];
} plan;

static _Thread_local unsigned failing; /* one of so many allocations fails */
static _Thread_local unsigned failing_seed;

static tensor *handle(int dtype, const int64_t *dims, int rank, buffer *content) {
  tensor *made = malloc(sizeof *made);
  *made = (tensor){dtype, rank, malloc((size_t)rank * sizeof *dims), content};
  if (rank > 0) memcpy(made->dims, dims, (size_t)rank * sizeof *dims);
  atomic_fetch_add(&living_tensors, 1);
  return made;
}

static void *new_tensor(int dtype, const int64_t *dims, int rank, void *data, size_t size,
                        void (*give_back)(void *, size_t, void *), void *argument) {
  buffer *content = malloc(sizeof *content);
  *content = (buffer){1, data, size, give_back, argument};
  atomic_fetch_add(&living_buffers, 1);
  return handle(dtype, dims, rank, content);
}

static void free_data(void *data, size_t size, void *argument) {
  (void)size;
  (void)argument;
  free(data);
}

static void *allocate_tensor(int dtype, const int64_t *dims, int rank, size_t size) {
  if (failing > 0 && next(&failing_seed) % failing == 0) return NULL;
  return new_tensor(dtype, dims, rank, malloc(size), size, free_data, NULL);
}

static void delete_tensor(void *given) {
  tensor *one = given;
  buffer *content = one->content;
  if (atomic_fetch_sub(&content->owners, 1) == 1) {
    content->give_back(content->data, content->size, content->argument);
    free(content);
    atomic_fetch_sub(&living_buffers, 1);
  }
  free(one->dims);
  free(one);
  atomic_fetch_sub(&living_tensors, 1);
}

static int num_dims(const void *one) { return ((const tensor *)one)->rank; }
static int64_t dim(const void *one, int axis) { return ((const tensor *)one)->dims[axis]; }
static size_t byte_size(const void *one) { return ((const tensor *)one)->content->size; }
static void *data_of(const void *one) { return ((const tensor *)one)->content->data; }

static void string_copy(void *to, const char *content, size_t size) {
  string *one = to;
  EXPECT(one->size == 0 && one->content == NULL);
  one->size = size;
  if (size == 0) return;
  one->content = malloc(size);
  memcpy(one->content, content, size);
  atomic_fetch_add(&living_strings, 1);
}

static const char *string_data(const void *one) { return ((const string *)one)->content; }
static size_t string_size(const void *one) { return ((const string *)one)->size; }

static void string_dealloc(void *given) {
  string *one = given;
  if (one->content != NULL) atomic_fetch_sub(&living_strings, 1);
  free(one->content);
  *one = (string){0};
}

static int get_code(const void *status) { return ((const status_of_run *)status)->code; }

static void fill(char *content, size_t size, int number) {
  for (size_t at = 0; at < size; at++) content[at] = (char)(number * 31 + (int)at);
}

static size_t elements(const int64_t *dims, int rank) {
  size_t count = 1;
  for (int axis = 0; axis < rank; axis++) count *= (size_t)dims[axis];
  return count;
}

static void run(void *session, const void *options, const void *feeds, void *const *inputs, int fed,
                const void *fetches, void **outputs, int fetched, const void *const *targets, int target_count,
                void *metadata, void *status) {
  const plan *wanted = session;
  (void)options, (void)feeds, (void)fetches, (void)metadata;
  EXPECT(targets == NULL && target_count == 0);
  for (int at = 0; at < fed; at++) {
    const tensor *input = inputs[at];
    EXPECT(input->content->size == 0 || input->content->data != NULL);
  }
  ((status_of_run *)status)->code = wanted->code;
  int given = wanted->code == 0 ? fetched : fetched / 2; /* a run may fail after it has made some */
  for (int at = 0; at < given; at++) {
    int source = wanted->input[at];
    EXPECT(outputs[at] == NULL);
    if (source >= 0) {
      const tensor *input = inputs[source];
      atomic_fetch_add(&input->content->owners, 1);
      outputs[at] = handle(input->dtype, input->dims, input->rank, input->content);
    } else {
      size_t size = 4 * elements(wanted->dims[at], wanted->rank[at]);
      char *data = malloc(size);
      fill(data, size, at);
      outputs[at] = new_tensor(FLOAT_TYPE, wanted->dims[at], wanted->rank[at], data, size, free_data, NULL);
    }
  }
}

/* The driver, which does what Python does. */

static int some_shape(unsigned *seed, int64_t *dims) {
  if (next(seed) % 50 == 0) { /* as many dimensions as there can be */
    for (int axis = 0; axis < MOST_DIMS; axis++) dims[axis] = 1;
    return MOST_DIMS;
  }
  int rank = (int)(next(seed) % 5);
  for (int axis = 0; axis < rank; axis++) dims[axis] = next(seed) % 9;
  return rank;
}

static void check_output(const plan *wanted, int at, int64_t size, int rank, const int64_t *dims, const char *data) {
  if (wanted->input[at] >= 0) return;
  EXPECT(rank == wanted->rank[at]);
  EXPECT(memcmp(dims, wanted->dims[at], (size_t)rank * sizeof *dims) == 0);
  EXPECT((size_t)size == 4 * elements(dims, rank));
  for (int64_t byte = 0; byte < size; byte++) EXPECT(data[byte] == (char)(at * 31 + (int)byte));
}

static void check_outputs(const run_wiring *wiring, const plan *wanted, run_room *room, int count, unsigned *seed) {
  const int64_t *found = room->found + 2;
  int64_t start = 0, left = 0;
  for (int at = 0; at < wiring->fetched; at++) {
    int64_t size = found[0];
    int rank = (int)found[1];
    if (room->tensors[at] != NULL) {
      left++;
      EXPECT((size_t)size == byte_size(room->tensors[at]));
      if (wiring->fetch_types[at] != STRING_TYPE)
        check_output(wanted, at, size, rank, found + 2, data_of(room->tensors[at]));
      if (next(seed) % 2 == 0) { /* an array becomes the owner */
        delete_tensor(room->tensors[at]);
        room->tensors[at] = NULL;
      }
    } else {
      start = (start + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
      check_output(wanted, at, size, rank, found + 2, room->content + start);
      start += size;
    }
    found += 2 + rank;
  }
  EXPECT(found - room->found == count);
  EXPECT(room->found[0] == left && room->found[1] == start);
  release_outputs(wiring, room);
}

static void *some_strings(unsigned *seed, int check) {
  int64_t dims[2] = {next(seed) % 6, next(seed) % 6};
  size_t count = (size_t)(dims[0] * dims[1]), total = 0;
  size_t *sizes = malloc(count * sizeof *sizes);
  for (size_t at = 0; at < count; at++) total += sizes[at] = next(seed) % 60;
  char *content = malloc(total);
  fill(content, total, (int)count);
  tensor *made = string_tensor(dims, 2, count, sizes, content);
  if (check) {
    size_t *read = malloc(count * sizeof *read);
    EXPECT(string_sizes(made, count, read) == total);
    EXPECT(memcmp(read, sizes, count * sizeof *read) == 0);
    char *copy = malloc(total);
    copy_strings(made, count, copy);
    EXPECT(memcmp(copy, content, total) == 0);
    free(copy);
    free(read);
  }
  free(content);
  free(sizes);
  return made;
}

static void one_run(unsigned *seed) {
  int fed = (int)(next(seed) % MOST), fetched = (int)(next(seed) % MOST);
  int feed_types[MOST], fetch_types[MOST];
  plan *wanted = calloc(1, sizeof *wanted);
  int64_t *extents = malloc((size_t)fed * (2 + MOST_DIMS) * sizeof *extents), *end = extents;
  void **given = next(seed) % 3 == 0 ? calloc(MOST, sizeof *given) : NULL;
  size_t total = 0;
  failing = 0;
  for (int at = 0; at < fed; at++) {
    feed_types[at] = FLOAT_TYPE;
    end[1] = some_shape(seed, end + 2);
    end[0] = 4 * (int64_t)elements(end + 2, (int)end[1]);
    total += (size_t)end[0];
    if (given != NULL && next(seed) % 2 == 0) {
      feed_types[at] = STRING_TYPE;
      given[at] = some_strings(seed, 0);
    } else if (given != NULL) {
      given[at] = allocate_tensor(FLOAT_TYPE, end + 2, (int)end[1], (size_t)end[0]);
      fill(data_of(given[at]), (size_t)end[0], at);
    }
    end += 2 + end[1];
  }
  for (int at = 0; at < fetched; at++) {
    wanted->input[at] = fed > 0 && next(seed) % 3 == 0 ? (int)(next(seed) % (unsigned)fed) : -1;
    wanted->rank[at] = some_shape(seed, wanted->dims[at]);
    fetch_types[at] = wanted->input[at] >= 0 ? feed_types[wanted->input[at]] : FLOAT_TYPE;
  }
  wanted->code = next(seed) % 4 == 0 ? 3 : 0;
  failing = next(seed) % 2 == 0 ? 30 : 0;
  failing_seed = *seed;
  char *content = malloc(total);
  fill(content, total, 1);
  status_of_run status = {0};
  size_t room_size = next(seed) % 3000;
  run_room room = {&status, calloc((size_t)fetched, sizeof(void *)), malloc(room_size), room_size,
                   malloc((2 + (size_t)fetched * (2 + MOST_DIMS)) * sizeof(int64_t))};
  run_wiring wiring = {NULL, feed_types, fed, NULL, fetch_types, fetched};
  int count = session_run(&wiring, wanted, NULL, NULL, given, given == NULL ? content : NULL, extents, &room);
  EXPECT(count >= 0 || count == FAILED || count == NO_MEMORY);
  EXPECT((count == FAILED) == (wanted->code != 0) || count == NO_MEMORY);
  if (count >= 0) check_outputs(&wiring, wanted, &room, count, seed);
  for (int at = 0; at < fetched; at++) EXPECT(room.tensors[at] == NULL);
  for (int at = 0; given != NULL && at < fed; at++) delete_tensor(given[at]);
  free(room.tensors), free(room.content), free(room.found);
  free(content), free(given), free(extents), free(wanted);
}

typedef struct {
  unsigned seed;
  int rounds;
} work;

static void *drive(void *given) {
  work *mine = given;
  for (int at = 0; at < mine->rounds; at++) {
    one_run(&mine->seed);
    delete_tensor(some_strings(&mine->seed, 1));
  }
  return NULL;
}

int main(int count, char **arguments) {
  EXPECT(count == 4);
  int threads = atoi(arguments[1]), rounds = atoi(arguments[2]), seed = atoi(arguments[3]);
  tensorflow_functions functions = {new_tensor, allocate_tensor, delete_tensor, num_dims,       dim,
                                    byte_size,  data_of,         string_copy,   string_data,    string_size,
                                    string_dealloc, run,         get_code};
  bind_tensorflow(&functions);
  pthread_t *running = malloc((size_t)threads * sizeof *running);
  work *shares = malloc((size_t)threads * sizeof *shares);
  for (int at = 0; at < threads; at++) {
    shares[at] = (work){(unsigned)(seed + at), rounds};
    EXPECT(pthread_create(&running[at], NULL, drive, &shares[at]) == 0);
  }
  for (int at = 0; at < threads; at++) pthread_join(running[at], NULL);
  free(running), free(shares);
  EXPECT(living_tensors == 0 && living_buffers == 0 && living_strings == 0);
  printf("%d threads, %d rounds each: nothing wrong, nothing left\n", threads, rounds);
  return 0;
}
