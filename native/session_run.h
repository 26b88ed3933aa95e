/* What Python calls of session_run.c. cffi reads this file, too, so it holds declarations alone. */

#define FAILED -1
#define NO_MEMORY -2
#define ALIGNMENT 16
#define MOST_DIMS 254
#define STRING_TYPE 7

/* The functions of TensorFlow's C API that are called, by their own names. */
typedef struct {
  void *(*TF_NewTensor)(int dtype, const int64_t *dims, int rank, void *data, size_t size,
                        void (*give_back)(void *data, size_t size, void *argument), void *argument);
  void *(*TF_AllocateTensor)(int dtype, const int64_t *dims, int rank, size_t size);
  void (*TF_DeleteTensor)(void *tensor);
  int (*TF_NumDims)(const void *tensor);
  int64_t (*TF_Dim)(const void *tensor, int axis);
  size_t (*TF_TensorByteSize)(const void *tensor);
  void *(*TF_TensorData)(const void *tensor);
  void (*TF_StringCopy)(void *string, const char *content, size_t size);
  const char *(*TF_StringGetDataPointer)(const void *string);
  size_t (*TF_StringGetSize)(const void *string);
  void (*TF_StringDealloc)(void *string);
  void (*TF_SessionRun)(void *session, const void *options, const void *feeds, void *const *inputs, int fed,
                        const void *fetches, void **outputs, int fetched, const void *const *targets, int target_count,
                        void *metadata, void *status);
  int (*TF_GetCode)(const void *status);
} tensorflow_functions;

/* Where a call enters the graph and where it leaves it: arrays of TF_Output, and the types there. */
typedef struct {
  const void *feeds;
  const int *feed_types;
  int fed;
  const void *fetches;
  const int *fetch_types;
  int fetched;
} run_wiring;

/* Room for what a run gives, for one run at a time.

   `content` gets the bytes of the outputs that fit in, each at the next multiple of ALIGNMENT. The tensors of the others
   stay in `tensors`, which has NULL for the copied ones; who sets one to NULL deletes it. `found` gets how many tensors
   stay, how many bytes of the content are used, and then of each output its size in bytes, its rank and its
   dimensions. */
typedef struct {
  void *status;
  void **tensors;
  char *content;
  size_t content_size;
  int64_t *found;
} run_room;

/* Take the functions of the library that is open; to be called before all others. */
void bind_tensorflow(const tensorflow_functions *functions);

/* Run a session once. Returns how many numbers were found; FAILED with TensorFlow's code and text in the room's status; or
   NO_MEMORY.

   Inputs are tensors that were `given`, which stay the caller's; or else they are made of `content`, in which their
   bytes stand one behind the other, and of `extents`: of each its size in bytes, its rank and its dimensions. */
int session_run(const run_wiring *wiring, void *session, const void *options, void *metadata, void *const *given,
                const char *content, const int64_t *extents, run_room *room);

/* Delete the tensors that are left in a room. */
void release_outputs(const run_wiring *wiring, run_room *room);

/* Make a tensor of strings, whose bytes stand in `content` one behind the other; NULL where there is no memory. */
void *string_tensor(const int64_t *dims, int rank, size_t count, const size_t *sizes, const char *content);

/* Read the sizes of the strings of a tensor; returns their sum. */
size_t string_sizes(const void *tensor, size_t count, size_t *sizes);

/* Copy the strings of a tensor into `content`, one behind the other. */
void copy_strings(const void *tensor, size_t count, char *content);
