/* What Python calls of session_run.c. cffi reads this file, too, so it holds declarations alone. */

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

/* Where a call enters the graph and where it leaves it: arrays of TF_Output, and the types that the graph takes. */
typedef struct {
  const void *feeds;
  const int *feed_types;
  int fed;
  const void *fetches;
  int fetched;
} run_wiring;

/* A fetched tensor. It belongs to its place until somebody sets `tensor` to NULL, or releases the place. */
typedef struct {
  void *tensor;
  const void *data;
  size_t size;
  int rank;
  int64_t dims[254];
} run_output;

/* Take the functions of the library that is open; to be called before all others. */
void bind_tensorflow(const tensorflow_functions *functions);

/* Run a session once. Returns TensorFlow's code, with the text in `status`, or -1 where there is no memory.

   Inputs are tensors that were `given`, which stay the caller's; or else they are made of `content`, in which their
   bytes stand one behind the other, and of `extents`: for each input its size in bytes, its rank and its dimensions.
   Where the code is 0, `outputs` hold what was fetched. */
int session_run(const run_wiring *wiring, void *session, const void *options, void *metadata, void *status,
                void *const *given, const char *content, const int64_t *extents, run_output *outputs);

/* Delete the tensors that are left in their places. */
void release_outputs(run_output *outputs, int count);

/* Make a tensor of strings, whose bytes stand in `content` one behind the other; NULL where there is no memory. */
void *string_tensor(const int64_t *dims, int rank, size_t count, const size_t *sizes, const char *content);

/* Read the sizes of the strings of a tensor; returns their sum. */
size_t string_sizes(const void *tensor, size_t count, size_t *sizes);

/* Copy the strings of a tensor into `content`, one behind the other. */
void copy_strings(const void *tensor, size_t count, char *content);
