// A client over a fake node, and a worker whose rows can be checked.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "cistern/client.h"
#include "tests/unit/client_lib/fake_node.h"
#include "tools/bench/row_model.h"
#include "tools/bench/worker_cache.h"

namespace cistern::testing {

using base::TokenId;
using Tokens = std::vector<TokenId>;
using Offsets = std::vector<uint32_t>;

inline base::ModelSpec SmallModel() {
  base::ModelSpec model;
  model.name = "small";
  model.revision = "1";
  model.num_layers = 3;
  return model;
}

inline Tokens RandomTokens(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Tokens tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 128000);
  return tokens;
}

// Pieces of text one after the other, and where each begins.
struct Text {
  Tokens tokens;
  Offsets parts;

  Text& operator+=(const Tokens& piece) {
    parts.push_back(static_cast<uint32_t>(tokens.size()));
    tokens.insert(tokens.end(), piece.begin(), piece.end());
    return *this;
  }
  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
};

inline Text Join(std::initializer_list<Tokens> pieces) {
  Text text;
  for (const Tokens& piece : pieces) text += piece;
  return text;
}

class ClientFixture : public ::testing::Test {
 protected:
  static constexpr uint32_t kMaxTokens = 4096;  // of a prompt

  void Start(FakeNodeOptions node_options = {.model = SmallModel()}, ClientOptions options = {}) {
    model_ = node_options.model;
    node_ = std::make_shared<FakeNode>(node_options);
    auto client = Client::Over(node_->Connect(), options);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    worker_ = std::make_unique<tools::WorkerCache>(model_, kMaxTokens);
  }

  // Bytes come by Read, not from the mapping.
  void StartCopying() { Start({.model = SmallModel(), .mapped = false}); }

  // Changes replies of one kind.
  template <typename ReplyType>
  void Tamper(std::function<void(ReplyType*)> change) {
    node_->tamper = [change](const Request&, Reply* reply) {
      if (auto* typed = std::get_if<ReplyType>(reply)) change(typed);
    };
  }
  // Answers requests of one kind with an error.
  template <typename RequestType>
  void Refuse(absl::Status status) {
    node_->intercept = [status](const Request& request) -> std::optional<absl::Status> {
      if (std::holds_alternative<RequestType>(request)) return status;
      return std::nullopt;
    };
  }

  static PlanPolicy Content() {
    PlanPolicy policy;
    policy.reuse = Reuse::kContent;
    policy.deadline = absl::Seconds(20);
    return policy;
  }
  static PlanPolicy Exact() {
    PlanPolicy policy = Content();
    policy.reuse = Reuse::kExact;
    return policy;
  }

  Plan MustPlan(const Text& text, const PlanPolicy& policy) {
    auto plan = client_->MakePlan(model_, text.tokens, policy, flat_ ? Offsets() : text.parts);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *std::move(plan) : Plan();
  }

  FetchOptions Raw() const {
    FetchOptions options;
    if (!rotated_) {
      options.pre_rope = worker_->pre_rope();
      options.pre_rope_stride = worker_->pre_rope_stride();
    }
    return options;
  }

  // Into a new sequence of the worker's cache.
  FetchHandle MustFetch(const Text& text, Plan plan, const FetchOptions& options) {
    worker_->Begin(text.tokens);
    auto fetch = client_->Fetch(std::move(plan), worker_->Destination(), options);
    EXPECT_TRUE(fetch.ok()) << fetch.status();
    return fetch.ok() ? *std::move(fetch) : FetchHandle();
  }
  FetchResult FetchAll(const Text& text, Plan plan) {
    return *MustFetch(text, std::move(plan), Raw()).Wait();
  }

  void ComputeTheRest(const Text& text, const FetchResult& fetched) {
    uint32_t position = 0;
    for (const Span& span : fetched.delivered) {
      if (position < span.begin) worker_->Compute({position, span.begin});
      position = span.end;
    }
    if (position < text.size()) worker_->Compute({position, text.size()});
  }

  absl::StatusOr<PublishReport> Publish(const Text& text, const FetchResult& fetched) {
    return client_->Publish(model_, text.tokens, fetched, {0, text.size()},
                            worker_->Source(!rotated_), flat_ ? Offsets() : text.parts);
  }

  // A whole turn of a worker: plan, fetch, check, compute the rest, publish.
  FetchResult Turn(const Text& text, const PlanPolicy& policy) {
    const FetchResult fetched = FetchAll(text, MustPlan(text, policy));
    EXPECT_EQ(Mismatches(fetched), 0u);
    EXPECT_TRUE(fetched.missing.empty());
    ComputeTheRest(text, fetched);
    const auto report = Publish(text, fetched);
    EXPECT_TRUE(report.ok()) << report.status();
    if (report.ok()) report_ = *report;
    return fetched;
  }

  // All computed, nothing asked for.
  void Seed(const Text& text) {
    worker_->Begin(text.tokens);
    worker_->Compute({0, text.size()});
    const auto report = Publish(text, {});
    ASSERT_TRUE(report.ok()) << report.status();
    report_ = *report;
  }

  uint64_t Mismatches(const FetchResult& fetched) {
    uint64_t mismatches = 0;
    for (const Span& span : fetched.delivered) {
      const bool moved =
          span.encoding == base::RotaryEncoding::kRotated && span.source_position != span.begin;
      mismatches += worker_->CountMismatches({span.begin, span.end},
                                             moved ? int64_t{span.source_position} : -1);
    }
    return mismatches;
  }

  // Stored rows that are not, bit for bit, what computing them at their place leaves: rows that
  // were moved and put in again would be among them.
  uint64_t StoredMismatches() {
    tools::RowModel rows(model_);
    uint64_t mismatches = 0;
    for (const auto& [id, stored] : node_->objects()) {
      const base::ObjectHeader& header = stored.header;
      const bool unrotated = header.encoding == base::RotaryEncoding::kUnrotated;
      for (uint32_t layer = 0; layer < model_.num_layers; ++layer) {
        for (uint32_t i = 0; i < header.num_tokens(); ++i) {
          std::vector<std::byte> want(model_.row_bytes);
          rows.WriteRow(header.tokens[i], layer, header.base_position + i, want.data());
          if (unrotated) {
            rows.WritePreRope(header.tokens[i], layer, want.data() + model_.rotary_offset());
          }
          mismatches += node_->StoredRow(id, layer, i) == want ? 0 : 1;
        }
      }
    }
    return mismatches;
  }

  // Rows of the worker's cache that somebody has written to.
  uint64_t Written(const Text& text) {
    uint64_t rows = 0;
    const std::vector<std::byte> zero(model_.row_bytes);
    for (uint32_t layer = 0; layer < model_.num_layers; ++layer) {
      for (uint32_t token = 0; token < text.size(); ++token) {
        rows += std::memcmp(worker_->Row(layer, token), zero.data(), zero.size()) != 0;
      }
    }
    return rows;
  }
  // A cache that holds nothing yet.
  void NewWorker() { worker_ = std::make_unique<tools::WorkerCache>(model_, kMaxTokens); }

  // Every call made so far has been served when this returns: a link answers in order.
  void Drain() {
    auto plan = client_->MakePlan(model_, RandomTokens(40, ++drains_ + 1'000'000), Content(), {});
    EXPECT_TRUE(plan.ok()) << plan.status();
  }

  static uint32_t Recovered(const FetchResult& fetched) {
    uint32_t tokens = 0;
    for (const Span& span : fetched.delivered) tokens += span.end - span.begin;
    return tokens;
  }
  static uint32_t MissingTokens(const FetchResult& fetched) {
    uint32_t tokens = 0;
    for (const TokenRange& range : fetched.missing) tokens += range.end - range.begin;
    return tokens;
  }
  static uint32_t Reused(const Plan& plan) {
    return static_cast<uint32_t>(plan.stats().exact_tokens + plan.stats().content_tokens);
  }
  static std::vector<Span> ReusedSpans(const Plan& plan) {
    std::vector<Span> spans = plan.spans();
    std::erase_if(spans, [](const Span& span) { return span.kind == SpanKind::kCompute; });
    return spans;
  }

  base::ModelSpec model_ = SmallModel();
  std::shared_ptr<FakeNode> node_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<tools::WorkerCache> worker_;
  PublishReport report_;  // of the last Turn or Seed
  bool flat_ = false;     // hide the parts
  bool rotated_ = false;  // no k_r before RoPE
  uint64_t drains_ = 0;
};

}  // namespace cistern::testing
