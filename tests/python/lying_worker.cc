// A worker that shares one text under the keys of another one:
//   lying_worker ADDRESS MODEL_JSON < tokens
// Rows are zeros; the tokens that go to the node are each one more than those whose keys they have.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <utility>
#include <vector>

#include "cistern/client.h"
#include "transport/link.h"

namespace {

using namespace cistern;  // NOLINT(google-build-using-namespace)

class LyingLink final : public transport::Link {
 public:
  explicit LyingLink(std::unique_ptr<Link> honest) : honest_(std::move(honest)) {}

  void Call(transport::Request request, transport::CallOptions options,
            transport::Completion done) override {
    if (auto* reserve = std::get_if<transport::ReserveRequest>(&request)) {
      for (base::ObjectHeader& header : reserve->headers) {
        for (base::TokenId& token : header.tokens) ++token;
      }
    }
    honest_->Call(std::move(request), std::move(options), std::move(done));
  }
  void Attend(absl::FunctionRef<bool()> done, absl::Duration longest) override {
    honest_->Attend(done, longest);
  }
  absl::StatusOr<std::unique_ptr<transport::Buffer>> Allocate(size_t bytes) override {
    return honest_->Allocate(bytes);
  }
  const std::byte* arena() const override { return honest_->arena(); }
  const transport::HelloReply& node() const override { return honest_->node(); }
  bool alive() const override { return honest_->alive(); }

 private:
  const std::unique_ptr<Link> honest_;
};

absl::StatusOr<PublishReport> Lie(const char* address, const base::ModelSpec& model,
                                  const std::vector<base::TokenId>& tokens) {
  auto link = transport::Connect(address, {.client_name = "liar"});
  if (!link.ok()) return link.status();
  auto client = Client::Over(std::make_unique<LyingLink>(*std::move(link)), {});
  if (!client.ok()) return client.status();

  constexpr uint32_t kBlockTokens = 64;
  const auto blocks = static_cast<uint32_t>(tokens.size() / kBlockTokens + 1);
  std::vector<std::byte> zeros(uint64_t{blocks} * kBlockTokens * model.row_bytes);
  std::vector<int32_t> table(blocks);
  for (uint32_t i = 0; i < blocks; ++i) table[i] = static_cast<int32_t>(i);
  RowSource rows;
  rows.cache.layer_base.assign(model.num_layers, zeros.data());
  rows.cache.block_table = table;
  rows.cache.num_blocks = blocks;
  rows.cache.block_tokens = kBlockTokens;
  rows.cache.row_stride = model.row_bytes;
  rows.cache.block_stride = uint64_t{kBlockTokens} * model.row_bytes;
  return (*client)->Publish(model, tokens, {}, {0, static_cast<uint32_t>(tokens.size())}, rows);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto model = base::ModelSpec::FromJson(argv[2]);
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 2;
  }
  const std::vector<base::TokenId> tokens{std::istream_iterator<base::TokenId>(std::cin), {}};
  const auto report = Lie(argv[1], *model, tokens);
  if (!report.ok()) {
    std::cerr << report.status() << "\n";
    return 1;
  }
  std::cout << report->segments << "\n";
  return 0;
}
