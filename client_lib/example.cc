// A worker in one page. The second time that it meets a prompt, the rows come from the cache.
#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "base/model_presets.h"
#include "cistern/client.h"

namespace {

using cistern::ModelSpec;
using cistern::TokenId;
using Tokens = std::vector<TokenId>;

constexpr uint32_t kTokens = 1000;
constexpr uint32_t kBlockTokens = 64;
constexpr uint32_t kBlocks = (kTokens + kBlockTokens - 1) / kBlockTokens;

// An engine's paged cache, and a prefill that writes the same bytes for the same token.
class Engine {
 public:
  explicit Engine(const ModelSpec& model)
      : model_(model), layers_(model.num_layers), table_(kBlocks) {
    const uint64_t layer_bytes = uint64_t{kBlocks} * kBlockTokens * model.row_bytes;
    memory_.resize(model.num_layers * layer_bytes);
    for (uint32_t layer = 0; layer < model.num_layers; ++layer) {
      layers_[layer] = memory_.data() + layer * layer_bytes;
    }
    std::iota(table_.begin(), table_.end(), 0);
  }
  cistern::PagedCache cache() const {
    return {layers_,         table_, kBlocks, kBlockTokens, kBlockTokens * model_.row_bytes,
            model_.row_bytes};
  }
  void Prefill(const Tokens& tokens, uint32_t begin, uint32_t end) {
    for (std::byte* layer : layers_) {
      for (uint32_t i = begin; i < end; ++i) {  // block i / 64, slot i % 64: one after the other
        std::memset(layer + uint64_t{i} * model_.row_bytes, static_cast<int>(tokens[i] & 0xff),
                    model_.row_bytes);
      }
    }
  }
  bool Holds(const Tokens& tokens) const {
    Engine fresh(model_);
    fresh.Prefill(tokens, 0, kTokens);
    return fresh.memory_ == memory_;
  }

 private:
  const ModelSpec model_;
  std::vector<std::byte> memory_;
  std::vector<std::byte*> layers_;
  std::vector<int32_t> table_;
};

// What the cache had. Whatever goes wrong means: nothing.
cistern::FetchResult FromCache(cistern::Client& client, const ModelSpec& model,
                               const Tokens& tokens, const cistern::PagedCache& cache) {
  auto plan = client.MakePlan(model, tokens, {.reuse = cistern::Reuse::kExact});
  if (!plan.ok()) return {};
  auto fetch = client.Fetch(*std::move(plan), cache);
  if (!fetch.ok()) return {};
  auto result = fetch->Wait();
  return result.ok() ? *std::move(result) : cistern::FetchResult();
}

// Plan, fetch, compute the rest, publish. Answers how many tokens were computed.
uint32_t Turn(cistern::Client* client, const ModelSpec& model, const Tokens& tokens,
              Engine* engine) {
  cistern::FetchResult fetched;
  if (client != nullptr) fetched = FromCache(*client, model, tokens, engine->cache());
  uint32_t position = 0, computed = 0;
  const auto compute_until = [&](uint32_t end) {
    if (position < end) engine->Prefill(tokens, position, end);
    computed += end - position;
  };
  for (const cistern::Span& span : fetched.delivered) {
    compute_until(span.begin);
    position = span.end;
  }
  compute_until(kTokens);
  if (client != nullptr) {
    auto report = client->Publish(model, tokens, fetched, {0, kTokens}, {.cache = engine->cache()});
    if (!report.ok()) std::printf("not shared: %s\n", report.status().ToString().c_str());
  }
  return computed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s unix:PATH | HOST:PORT\n", argv[0]), 2;
  auto preset = cistern::base::ModelPreset("deepseek-v2-lite");
  if (!preset.ok()) return std::fprintf(stderr, "%s\n", preset.status().ToString().c_str()), 1;
  const ModelSpec model = cistern::base::WithLayers(*std::move(preset), 4);
  Tokens tokens(kTokens);
  for (uint32_t i = 0; i < kTokens; ++i) tokens[i] = i * 2654435761u % 100000;

  auto client = cistern::Client::Connect({.address = argv[1]});
  if (!client.ok()) std::printf("no cache: %s\n", client.status().ToString().c_str());
  for (const char* turn : {"first", "second"}) {
    Engine engine(model);
    const uint32_t computed = Turn(client.ok() ? client->get() : nullptr, model, tokens, &engine);
    std::printf("%s turn: computed %u of %u tokens\n", turn, computed, kTokens);
    if (!engine.Holds(tokens)) return 1;
  }
  return 0;
}
