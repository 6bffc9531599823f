/* A worker in one page of C. The second time that it meets a prompt, the rows come from the cache.
 *
 *   example                          a node inside the process
 *   example unix:PATH | HOST:PORT    a node elsewhere
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cistern.h"

enum { kTokens = 1000, kBlockTokens = 64, kBlocks = (kTokens + kBlockTokens - 1) / kBlockTokens };
enum { kLayers = 2, kMaxSpans = 64 };

static void Check(int32_t code, const cistern_error* error, const char* what) {
  if (code == CISTERN_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, cistern_code_name(code), error->message);
  exit(1);
}

/* An engine's paged cache, and a prefill that writes the same bytes for the same token. */
typedef struct Engine {
  uint32_t row_bytes;
  unsigned char* memory;
  void* layers[kLayers];
  int32_t table[kBlocks];
} Engine;

static void EngineInit(Engine* engine, uint32_t row_bytes) {
  const size_t layer_bytes = (size_t)kBlocks * kBlockTokens * row_bytes;
  engine->row_bytes = row_bytes;
  engine->memory = calloc(kLayers, layer_bytes);
  if (engine->memory == NULL) abort();
  for (int layer = 0; layer < kLayers; ++layer) {
    engine->layers[layer] = engine->memory + (size_t)layer * layer_bytes;
  }
  for (int32_t i = 0; i < kBlocks; ++i) engine->table[i] = kBlocks - 1 - i;
}

static unsigned char* Row(const Engine* engine, int layer, uint32_t token) {
  const size_t block = (size_t)engine->table[token / kBlockTokens];
  return (unsigned char*)engine->layers[layer] +
         (block * kBlockTokens + token % kBlockTokens) * engine->row_bytes;
}

static void Prefill(Engine* engine, const uint32_t* tokens, uint32_t begin, uint32_t end) {
  for (int layer = 0; layer < kLayers; ++layer) {
    for (uint32_t i = begin; i < end; ++i) {
      memset(Row(engine, layer, i), (int)((tokens[i] + (uint32_t)layer) & 0xff), engine->row_bytes);
    }
  }
}

static cistern_paged_cache CacheOf(const Engine* engine) {
  cistern_paged_cache cache = {.struct_size = sizeof(cache)};
  cache.layer_base = (void* const*)engine->layers;
  cache.block_table = engine->table;
  cache.block_table_entries = kBlocks;
  cache.num_blocks = kBlocks;
  cache.block_tokens = kBlockTokens;
  cache.row_stride = engine->row_bytes;
  cache.block_stride = (uint64_t)kBlockTokens * engine->row_bytes;
  return cache;
}

/* Plan, fetch, compute the rest, publish. Answers how many tokens were computed. */
static uint32_t Turn(cistern_client* client, const cistern_model* model,
                     const cistern_prompt* prompt, Engine* engine) {
  cistern_error error;
  const cistern_paged_cache cache = CacheOf(engine);
  cistern_plan* plan = NULL;
  cistern_fetch* fetch = NULL;
  cistern_result* result = NULL;
  Check(cistern_make_plan(client, model, prompt, NULL, &plan, &error), &error, "plan");
  Check(cistern_fetch_start(client, plan, &cache, NULL, &fetch, &error), &error, "fetch");
  Check(cistern_fetch_wait(fetch, &result, &error), &error, "wait");

  cistern_span spans[kMaxSpans];
  const size_t count = cistern_result_delivered(result, spans, kMaxSpans);
  uint32_t position = 0, computed = 0;
  for (size_t i = 0; i <= count && i <= kMaxSpans; ++i) {
    const uint32_t until = i < count ? spans[i].begin : kTokens;
    Prefill(engine, prompt->tokens, position, until);
    computed += until - position;
    if (i < count) position = spans[i].end;
  }
  const cistern_rows rows = {.struct_size = sizeof(rows), .cache = &cache};
  const cistern_range all = {0, kTokens};
  Check(cistern_publish(client, model, prompt, result, all, &rows, NULL, &error), &error,
        "publish");
  cistern_result_free(result);
  cistern_fetch_free(fetch);
  cistern_plan_free(plan);
  return computed;
}

int main(int argc, char** argv) {
  cistern_error error;
  cistern_node* node = NULL;
  cistern_client* client = NULL;
  cistern_model* model = NULL;
  if (argc == 2) {
    Check(cistern_connect(argv[1], NULL, &client, &error), &error, argv[1]);
  } else {
    Check(cistern_node_start("{\"pool_bytes\": \"64MiB\"}", &node, &error), &error, "node");
    Check(cistern_node_connect(node, NULL, &client, &error), &error, "connect");
  }
  Check(cistern_model_preset("deepseek-v2-lite", kLayers, &model, &error), &error, "model");
  cistern_model_info info = {.struct_size = sizeof(info)};
  Check(cistern_model_get_info(model, &info, &error), &error, "model");

  uint32_t tokens[kTokens];
  for (uint32_t i = 0; i < kTokens; ++i) tokens[i] = (uint32_t)(i * 2654435761u) % 100000;
  const cistern_prompt prompt = {
      .struct_size = sizeof(prompt), .tokens = tokens, .num_tokens = kTokens};
  Engine first, engine;
  EngineInit(&first, info.row_bytes);
  Prefill(&first, tokens, 0, kTokens);
  int wrong = 0;
  for (int turn = 1; turn <= 2; ++turn) {
    EngineInit(&engine, info.row_bytes);
    printf("turn %d: computed %u of %d tokens\n", turn,
           (unsigned)Turn(client, model, &prompt, &engine), kTokens);
    for (int layer = 0; layer < kLayers; ++layer) {
      for (uint32_t i = 0; i < kTokens; ++i) {
        wrong += memcmp(Row(&engine, layer, i), Row(&first, layer, i), info.row_bytes) != 0;
      }
    }
    free(engine.memory);
  }
  printf("rows that are wrong: %d\n", wrong);
  free(first.memory);
  cistern_model_free(model);
  cistern_client_free(client);
  cistern_node_free(node);
  return wrong == 0 ? 0 : 1;
}
