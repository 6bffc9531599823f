// A node inside the process and a client, through the C interface.
#pragma once

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "client_lib/c/cistern.h"

namespace cistern::c {

template <typename Struct>
Struct Sized() {
  Struct made;
  std::memset(static_cast<void*>(&made), 0, sizeof(made));
  made.struct_size = sizeof(made);
  return made;
}

class CTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cistern_node_start("{\"pool_bytes\": \"64MiB\"}", &node_, &error_), CISTERN_OK)
        << error_.message;
    client_ = NewClient(nullptr);
  }
  void TearDown() override {
    cistern_model_free(model_);
    cistern_client_free(client_);
    cistern_node_free(node_);
  }
  cistern_client* NewClient(const cistern_client_options* options) {
    cistern_client* client = nullptr;
    EXPECT_EQ(cistern_node_connect(node_, options, &client, &error_), CISTERN_OK) << error_.message;
    return client;
  }
  std::string message() const { return error_.message; }

  cistern_error error_{};
  cistern_node* node_ = nullptr;
  cistern_client* client_ = nullptr;
  cistern_model* model_ = nullptr;
};

// A paged cache of `kLayers` layers, blocks in a wild order.
class Cache {
 public:
  static constexpr uint32_t kBlockTokens = 16;

  Cache(uint32_t layers, uint32_t row_bytes, uint32_t tokens)
      : row_bytes_(row_bytes), table_((tokens + kBlockTokens - 1) / kBlockTokens) {
    for (size_t i = 0; i < table_.size(); ++i)
      table_[i] = static_cast<int32_t>(table_.size() - 1 - i);
    memory_.resize(layers, std::vector<unsigned char>(table_.size() * kBlockTokens * row_bytes));
    for (auto& layer : memory_) layers_.push_back(layer.data());
  }

  cistern_paged_cache view() const {
    auto cache = Sized<cistern_paged_cache>();
    cache.layer_base = layers_.data();
    cache.block_table = table_.data();
    cache.block_table_entries = table_.size();
    cache.num_blocks = table_.size();
    cache.block_tokens = kBlockTokens;
    cache.row_stride = row_bytes_;
    cache.block_stride = uint64_t{kBlockTokens} * row_bytes_;
    return cache;
  }
  unsigned char* Row(uint32_t layer, uint32_t token) {
    const auto block = static_cast<size_t>(table_[token / kBlockTokens]);
    return memory_[layer].data() + (block * kBlockTokens + token % kBlockTokens) * row_bytes_;
  }
  void Fill(const std::vector<uint32_t>& tokens) {
    for (uint32_t layer = 0; layer < memory_.size(); ++layer) {
      for (uint32_t i = 0; i < tokens.size(); ++i)
        std::memset(Row(layer, i), static_cast<int>((tokens[i] + layer) & 0xff), row_bytes_);
    }
  }
  bool operator==(const Cache& other) const { return memory_ == other.memory_; }

 private:
  uint32_t row_bytes_;
  std::vector<int32_t> table_;
  std::vector<std::vector<unsigned char>> memory_;
  std::vector<void*> layers_;
};

inline cistern_prompt PromptOf(const std::vector<uint32_t>& tokens) {
  auto prompt = Sized<cistern_prompt>();
  prompt.tokens = tokens.data();
  prompt.num_tokens = tokens.size();
  return prompt;
}

inline std::vector<uint32_t> SomeTokens(uint32_t count, uint32_t seed) {
  std::vector<uint32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = (i + seed * 7919) * 2654435761u % 100000;
  return tokens;
}

}  // namespace cistern::c
