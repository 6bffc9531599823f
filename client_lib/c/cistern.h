/* Cistern's client for C, and for whatever speaks C: Rust, Go, Python's ctypes.
 *
 *   cistern_connect ─► (cistern_make_plan ─► cistern_fetch_start ─► compute what is not there
 *                       ─► cistern_publish)*
 *
 * What the calls mean is told in cistern/client.h, plan.h, state.h and blobs.h, whose names these
 * follow; what differs in C is told here.
 *
 * Handles are made by one call and freed by one; a handle belongs to one thread at a time, except
 * for clients, models and nodes, which any number of threads may use at once. Freeing NULL does
 * nothing. A client outlives what was made with it. When a node goes its clients answer errors.
 *
 * Errors: a call that can fail answers a code; 0 is success. `error`, where it is not NULL, gets
 * code and text. Nothing is written to other outputs then. No call throws, exits or keeps errors
 * anywhere else.
 *
 * Structs that the caller fills begin with struct_size, the caller's sizeof: a library that knows
 * more fields takes their defaults, one that knows fewer refuses what it does not know, unless it
 * is zero. The *_init functions fill in the defaults and struct_size; the size is passed so that no
 * library writes beyond the caller's struct. Where a pointer to options may be NULL, that means the
 * defaults.
 *
 * Outputs: structs that the library fills have struct_size set by the caller, too, and are filled
 * that far. Arrays: the caller gives room for `capacity` entries; answered is how many there are,
 * of which at most `capacity` were written.
 *
 * Memory is the caller's, and stays as it is until the call or the handle that uses it has ended.
 * Text that goes in is bytes and a length, or ends in a zero byte where no length is given.
 *
 * ABI: CISTERN_ABI_VERSION grows when something is added; what is there does not change.
 */
#ifndef CISTERN_H_
#define CISTERN_H_

/* It is C. NOLINTBEGIN(modernize-*,readability-identifier-naming) */

#include <stddef.h>
#include <stdint.h>

#define CISTERN_ABI_VERSION 2

#if defined(__GNUC__)
#define CISTERN_API __attribute__((visibility("default")))
#else
#define CISTERN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Codes */

enum {
  CISTERN_OK = 0,
  CISTERN_CANCELLED = 1,
  CISTERN_UNKNOWN = 2,
  CISTERN_INVALID_ARGUMENT = 3,  /* fix the call */
  CISTERN_DEADLINE_EXCEEDED = 4, /* the node is too slow: compute */
  CISTERN_NOT_FOUND = 5,
  CISTERN_PERMISSION_DENIED = 7,
  CISTERN_RESOURCE_EXHAUSTED = 8, /* back off */
  CISTERN_FAILED_PRECONDITION = 9,
  CISTERN_ABORTED = 10,
  CISTERN_UNIMPLEMENTED = 12,
  CISTERN_INTERNAL = 13,
  CISTERN_UNAVAILABLE = 14, /* no node: compute */
  CISTERN_DATA_LOSS = 15
};

typedef struct cistern_error {
  int32_t code;
  char message[508]; /* ends in a zero byte; cut where it is longer */
} cistern_error;

CISTERN_API const char* cistern_version(void); /* "0.1.0" */
CISTERN_API uint32_t cistern_abi_version(void);
CISTERN_API const char* cistern_code_name(int32_t code); /* "UNAVAILABLE"; never NULL */

typedef struct cistern_client cistern_client;
typedef struct cistern_node cistern_node;
typedef struct cistern_model cistern_model;
typedef struct cistern_plan cistern_plan;
typedef struct cistern_fetch cistern_fetch;
typedef struct cistern_result cistern_result;
typedef struct cistern_publishing cistern_publishing;
typedef struct cistern_blob_view cistern_blob_view;

/* ---- Clients and nodes */

enum { CISTERN_FP32_TABLE = 0, CISTERN_BF16_TABLE = 1, CISTERN_BF16_PER_OP = 2 };

typedef struct cistern_client_options {
  size_t struct_size;
  const char* name; /* for `cistern status` */
  const char* salt; /* the tenant's */
  size_t salt_bytes;
  uint32_t connect_timeout_ms;
  uint32_t call_deadline_ms;
  uint32_t publish_deadline_ms;
  uint32_t reconnect_backoff_ms;
  int32_t want_mapping;             /* 0 or 1: read the node's memory in place, on one host */
  int32_t arithmetic;               /* CISTERN_FP32_TABLE ...: how this worker turns k_r */
  double prefill_tokens_per_second; /* 0: unknown; whatever is stored is fetched */
  uint64_t max_staging_bytes;
  uint32_t fetch_threads;
  uint32_t max_queued_fetches;
} cistern_client_options;

CISTERN_API void cistern_client_options_init(cistern_client_options* options, size_t struct_size);

/* "unix:PATH" or "HOST:PORT". Waits for a node that is just starting. UNAVAILABLE: none answers
 * within connect_timeout_ms. */
CISTERN_API int32_t cistern_connect(const char* address, const cistern_client_options* options,
                                    cistern_client** client, cistern_error* error);
CISTERN_API void cistern_client_free(cistern_client* client);

/* A node inside this process. `config`: text as of a cistern-server's configuration file, e.g.
 * {"pool_bytes": "1GiB", "disk_path": "/var/tmp/cache"}; NULL or empty: 256 MiB of memory. */
CISTERN_API int32_t cistern_node_start(const char* config, cistern_node** node,
                                       cistern_error* error);
CISTERN_API int32_t cistern_node_connect(cistern_node* node, const cistern_client_options* options,
                                         cistern_client** client, cistern_error* error);
CISTERN_API void cistern_node_free(cistern_node* node); /* stops it; its clients answer errors */

typedef struct cistern_client_stats {
  size_t struct_size;
  uint64_t plans, plan_failures;
  uint64_t fetches, fetch_failures;
  uint64_t publishes, publish_failures;
  uint64_t token_mismatches;
  uint64_t stale_reads;
  uint64_t checksum_failures;
  uint64_t reconnects;
  uint64_t refused_slow;
  uint64_t device_errors; /* fetches that a device failed */
} cistern_client_stats;

CISTERN_API int32_t cistern_client_get_stats(const cistern_client* client,
                                             cistern_client_stats* stats, cistern_error* error);

/* ---- Models */

enum { CISTERN_BF16_576 = 0, CISTERN_FP8_DS_MLA_656 = 1, CISTERN_OPAQUE = 2 };

/* From the text that cistern_model_to_json gives. */
CISTERN_API int32_t cistern_model_from_json(const char* json, size_t bytes, cistern_model** model,
                                            cistern_error* error);
/* From a Hugging Face config.json. `revision`: of the weights; `layout`: CISTERN_BF16_576 ... */
CISTERN_API int32_t cistern_model_from_config(const char* json, size_t bytes, const char* name,
                                              const char* revision, int32_t layout,
                                              cistern_model** model, cistern_error* error);
/* "deepseek-v3", "qwen3-next" ...; an unknown name is answered with all that there are. `layers`:
 * only the first so many of each kind; 0: all. */
CISTERN_API int32_t cistern_model_preset(const char* name, uint32_t layers, cistern_model** model,
                                         cistern_error* error);
CISTERN_API void cistern_model_free(cistern_model* model);

typedef struct cistern_model_info {
  size_t struct_size;
  uint8_t fingerprint[16]; /* seeds every key: other model, other keys */
  uint32_t num_layers;     /* that keep rows */
  uint32_t row_bytes;      /* what a token leaves in one of them */
  uint32_t rotary_bytes;   /* of k_r in a row; 0: the rows are opaque */
  uint32_t state_layers;   /* 0: no recurrent state */
  uint64_t temporal_bytes; /* of one state layer */
  uint64_t conv_bytes;
  uint32_t state_inputs; /* fields of a log; their bytes for one token and layer: */
  uint32_t input_bytes[8];
} cistern_model_info;

CISTERN_API int32_t cistern_model_get_info(const cistern_model* model, cistern_model_info* info,
                                           cistern_error* error);
/* Answers the text's bytes, without the zero byte that follows it if there is room. */
CISTERN_API size_t cistern_model_to_json(const cistern_model* model, char* json, size_t capacity);

/* ---- Plans */

enum { CISTERN_REUSE_NONE = 0, CISTERN_REUSE_EXACT = 1, CISTERN_REUSE_CONTENT = 2 };

typedef struct cistern_plan_policy {
  size_t struct_size;
  int32_t reuse;
  uint32_t recompute_head;
  uint32_t sink_tokens;
  uint32_t min_span_tokens;
  int32_t partial_segments;   /* 0 or 1 */
  int32_t compute_last_token; /* 0 or 1 */
  uint32_t deadline_ms;
} cistern_plan_policy;

CISTERN_API void cistern_plan_policy_init(cistern_plan_policy* policy, size_t struct_size);

/* A prompt, and where its parts (messages, tool results, documents) begin, if that is known. */
typedef struct cistern_prompt {
  size_t struct_size;
  const uint32_t* tokens;
  size_t num_tokens;
  const uint32_t* part_boundaries; /* ascending offsets into tokens */
  size_t num_boundaries;
} cistern_prompt;

enum { CISTERN_EXACT = 0, CISTERN_CONTENT = 1, CISTERN_COMPUTE = 2 };

/* These two have the same fields for ever: arrays of them are passed. */
typedef struct cistern_range {
  uint32_t begin, end; /* tokens [begin, end) */
} cistern_range;
typedef struct cistern_span {
  uint32_t begin, end; /* tokens [begin, end) of the prompt */
  int32_t kind;        /* CISTERN_EXACT ... */
  uint8_t lossless;    /* nothing in its past was reused by content */
  uint8_t on_disk;
  uint8_t native;           /* the bytes are what this worker would have computed */
  uint8_t pre_rope;         /* of what a fetch delivered: k_r before RoPE came beside it */
  uint32_t source_position; /* where the row that goes to `begin` was computed */
} cistern_span;

CISTERN_API int32_t cistern_make_plan(cistern_client* client, const cistern_model* model,
                                      const cistern_prompt* prompt,
                                      const cistern_plan_policy* policy, cistern_plan** plan,
                                      cistern_error* error);
CISTERN_API void cistern_plan_free(cistern_plan* plan); /* gives its leases back */

CISTERN_API size_t cistern_plan_spans(const cistern_plan* plan, cistern_span* spans,
                                      size_t capacity);

typedef struct cistern_plan_info {
  size_t struct_size;
  uint64_t exact_tokens, lossless_tokens, content_tokens, compute_tokens;
  uint64_t token_mismatches;
  /* Of a model with recurrent state: go on here, with the state behind it (plan.h, Resume). */
  uint32_t resume_position, checkpoint_position, folded_tokens;
  uint64_t checkpoint_bytes, log_bytes;
} cistern_plan_info;

CISTERN_API int32_t cistern_plan_get_info(const cistern_plan* plan, cistern_plan_info* info,
                                          cistern_error* error);
/* Positions where a state would serve later prompts. */
CISTERN_API size_t cistern_plan_wanted_states(const cistern_plan* plan, uint32_t* positions,
                                              size_t capacity);

/* ---- Fetching */

/* Where memory lies. Copies to and from a device go through a stream of the library's own: what the
 * caller's streams still do with the same memory has been waited for before a call is given it. */
enum { CISTERN_HOST = 0, CISTERN_CUDA = 1 };

/* A worker's paged cache: token i of the sequence lies in block b = block_table[i / block_tokens],
 * slot s = i % block_tokens, at layer_base[layer] + b * block_stride + s * row_stride. */
typedef struct cistern_paged_cache {
  size_t struct_size;
  void* const* layer_base; /* [num_layers of the model] */
  const int32_t* block_table;
  size_t block_table_entries;
  uint64_t num_blocks; /* of the cache: the bound of every entry */
  uint32_t block_tokens;
  int32_t memory; /* CISTERN_HOST ...; k_r before RoPE lies there as well. -1, as of ABI 1: host */
  uint64_t block_stride, row_stride; /* bytes */
  int32_t device;                    /* of CISTERN_CUDA: its number in this process */
  int32_t reserved;
} cistern_paged_cache;

/* A recurrent state (state.h, StateView); NULL members where the model has none. */
typedef struct cistern_state {
  size_t struct_size;
  void* const* temporal;  /* [state_layers] */
  void* const* conv;      /* [state_layers] */
  int32_t memory, device; /* as of cistern_paged_cache */
} cistern_state;

typedef struct cistern_fetch_options {
  size_t struct_size;
  uint32_t deadline_ms;
  /* Once per layer, in order, from a thread of the library's or from within a wait for this fetch.
   * It may call cistern_fetch_missing and cistern_fetch_cancel, but neither wait nor free. Not
   * before cistern_fetch_start has written *fetch. */
  void (*on_layer)(void* user, uint32_t layer);
  void* user;
  void* const* pre_rope; /* [num_layers]; NULL: k_r before RoPE is not wanted */
  uint64_t pre_rope_stride;
  const cistern_state* state;  /* where it goes; needed when resume_position is not 0 */
  const float* const* decay;   /* [state_layers], of families that fold with it */
  int32_t pre_rope_everywhere; /* 0 or 1: in all chunks stored unrotated */
} cistern_fetch_options;

CISTERN_API void cistern_fetch_options_init(cistern_fetch_options* options, size_t struct_size);

/* Uses the plan up; it is still to be freed. After an error it can be fetched again. */
CISTERN_API int32_t cistern_fetch_start(cistern_client* client, cistern_plan* plan,
                                        const cistern_paged_cache* destination,
                                        const cistern_fetch_options* options, cistern_fetch** fetch,
                                        cistern_error* error);
/* Until all rows of `layer` are in place, or it is known which are not. */
CISTERN_API int32_t cistern_fetch_wait_layer(cistern_fetch* fetch, uint32_t layer,
                                             cistern_error* error);
/* What is known by now not to come: compute it. It only grows. */
CISTERN_API size_t cistern_fetch_missing(const cistern_fetch* fetch, cistern_range* ranges,
                                         size_t capacity);
CISTERN_API int32_t cistern_fetch_wait(cistern_fetch* fetch, cistern_result** result,
                                       cistern_error* error);
CISTERN_API void cistern_fetch_cancel(cistern_fetch* fetch);
/* Cancels it. Once this returns nothing is written any more. */
CISTERN_API void cistern_fetch_free(cistern_fetch* fetch);

typedef struct cistern_result_info {
  size_t struct_size;
  uint64_t bytes_memory, bytes_disk, mapped_bytes;
  uint32_t approximate_from; /* UINT32_MAX: nothing is approximate */
  uint32_t state_position;   /* the state behind this token is in place; 0: none */
  uint64_t state_bytes;
} cistern_result_info;

CISTERN_API int32_t cistern_result_get_info(const cistern_result* result, cistern_result_info* info,
                                            cistern_error* error);
CISTERN_API size_t cistern_result_missing(const cistern_result* result, cistern_range* ranges,
                                          size_t capacity);
CISTERN_API size_t cistern_result_delivered(const cistern_result* result, cistern_span* spans,
                                            size_t capacity);
CISTERN_API void cistern_result_free(cistern_result* result);

/* ---- Publishing */

typedef struct cistern_rows {
  size_t struct_size;
  const cistern_paged_cache* cache;
  const void* const* pre_rope; /* [num_layers]; NULL: the rows are stored as they are, rotated */
  uint64_t pre_rope_stride;
} cistern_rows;

typedef struct cistern_publish_report {
  size_t struct_size;
  uint64_t segments, segments_had, segments_linked, segments_dropped;
  uint64_t bytes;
} cistern_publish_report;

/* `fetched`: what this sequence was given; NULL: nothing. `report` may be NULL. */
CISTERN_API int32_t cistern_publish(cistern_client* client, const cistern_model* model,
                                    const cistern_prompt* prompt, const cistern_result* fetched,
                                    cistern_range range, const cistern_rows* rows,
                                    cistern_publish_report* report, cistern_error* error);

/* The same while the rows are computed: start ─► (layer_done)* ─► finish ─► free. All that is
 * passed to start stays as it is until then. */
CISTERN_API int32_t cistern_publish_start(cistern_client* client, const cistern_model* model,
                                          const cistern_prompt* prompt,
                                          const cistern_result* fetched, cistern_range range,
                                          const cistern_rows* rows, cistern_publishing** publishing,
                                          cistern_error* error);
CISTERN_API int32_t cistern_publish_layer_done(cistern_publishing* publishing, uint32_t layer,
                                               cistern_error* error);
CISTERN_API int32_t cistern_publish_finish(cistern_publishing* publishing,
                                           cistern_publish_report* report, cistern_error* error);
CISTERN_API void cistern_publish_free(
    cistern_publishing* publishing); /* gives up what is not done */

/* ---- Recurrent state (state.h) */

typedef struct cistern_state_point {
  uint32_t position; /* tokens before it */
  uint32_t reserved;
  const cistern_state* state; /* its temporal may be NULL where a log leads there */
} cistern_state_point;

/* One input of the state layers, of tokens [begin, end): token i lies at
 * layers[layer] + (i - begin) * token_stride. */
typedef struct cistern_log_field {
  const void* const* layers; /* [state_layers] */
  uint64_t token_stride;
} cistern_log_field;

enum { CISTERN_TAILS_END = 0, CISTERN_TAILS_EVERY_TOKEN = 1 };

typedef struct cistern_state_source {
  size_t struct_size;
  const cistern_state_point* points; /* ascending */
  size_t num_points;
  uint32_t log_begin, log_end;         /* equal: no log */
  const cistern_log_field* log_fields; /* [state_inputs] */
  const cistern_log_field* conv_rows;  /* NULL: logs have a tail at their end only */
  uint32_t max_chain_tokens;           /* 0: the default */
  int32_t tails;                       /* CISTERN_TAILS_END ... */
} cistern_state_source;

typedef struct cistern_state_report {
  size_t struct_size;
  uint64_t checkpoints, logs, had, dropped, without_base;
  uint64_t bytes;
} cistern_state_report;

CISTERN_API int32_t cistern_publish_states(cistern_client* client, const cistern_model* model,
                                           const cistern_prompt* prompt,
                                           const cistern_result* fetched,
                                           const cistern_state_source* source,
                                           cistern_state_report* report, cistern_error* error);

/* ---- Blobs: bytes by name (blobs.h). Arrays of `count` entries; these structs stay as they are.
 */

typedef struct cistern_name {
  const void* data;
  size_t bytes;
} cistern_name;
typedef struct cistern_blob_source {
  cistern_name name;
  const void* data;
  size_t bytes;
} cistern_blob_source;
typedef struct cistern_blob_target {
  cistern_name name;
  void* memory;
  size_t bytes;
} cistern_blob_target;

enum { CISTERN_PUT_STORED = 0, CISTERN_PUT_HAD = 1, CISTERN_PUT_DROPPED = 2 };
enum { CISTERN_GET_FILLED = 0, CISTERN_GET_MISSING = 1, CISTERN_GET_OTHER_SIZE = 2 };

/* `sizes`: bytes of each; 0: not stored. */
CISTERN_API int32_t cistern_blobs_find(cistern_client* client, const cistern_name* names,
                                       size_t count, uint32_t deadline_ms, uint64_t* sizes,
                                       cistern_error* error);
CISTERN_API int32_t cistern_blobs_put(cistern_client* client, const cistern_blob_source* blobs,
                                      size_t count, uint32_t deadline_ms, int32_t* outcomes,
                                      cistern_error* error);
CISTERN_API int32_t cistern_blobs_get(cistern_client* client, const cistern_blob_target* blobs,
                                      size_t count, uint32_t deadline_ms, int32_t* outcomes,
                                      cistern_error* error);
/* `stored`: how many of the names are; may be NULL. */
CISTERN_API int32_t cistern_blobs_pin(cistern_client* client, const cistern_name* names,
                                      size_t count, int32_t pinned, uint32_t deadline_ms,
                                      uint64_t* stored, cistern_error* error);
/* `views`: [count]; NULL: not stored. Each is to be freed, which gives its lease back. */
CISTERN_API int32_t cistern_blobs_view(cistern_client* client, const cistern_name* names,
                                       size_t count, uint32_t deadline_ms,
                                       cistern_blob_view** views, cistern_error* error);

typedef struct cistern_run {
  const void* data;
  size_t bytes;
} cistern_run;

CISTERN_API uint64_t cistern_blob_view_bytes(const cistern_blob_view* view);
CISTERN_API size_t cistern_blob_view_runs(const cistern_blob_view* view, cistern_run* runs,
                                          size_t capacity);
/* 1: all that was read until now was the blob. */
CISTERN_API int32_t cistern_blob_view_still_there(const cistern_blob_view* view);
CISTERN_API void cistern_blob_view_free(cistern_blob_view* view);

#ifdef __cplusplus
} /* extern "C" */
#endif

/* NOLINTEND(modernize-*,readability-identifier-naming) */

#endif /* CISTERN_H_ */
