// Publishing rows and states.
#include <optional>

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

namespace {

// Rows in Python's memory.
struct Rows {
  Rows(nb::object from, nb::handle pre_rope_layers, uint64_t tokens, const base::ModelSpec& spec)
      : cache(std::move(from)),
        pre_rope(ReadPreRope(pre_rope_layers, tokens, spec,
                             nb::cast<const Cache&>(cache).view().device)) {
    const auto& paged = nb::cast<const Cache&>(cache);
    paged.CheckFits(spec);
    source.cache = paged.view();
    source.pre_rope = {pre_rope.pointers.begin(), pre_rope.pointers.end()};
    source.pre_rope_stride = pre_rope.stride;
  }
  nb::object cache;  // goes first: pre_rope looks at it
  LayerArrays pre_rope;
  RowSource source;
};

nb::dict DictOf(const PublishReport& report) {
  nb::dict out;
  out["segments"] = report.segments;
  out["segments_had"] = report.segments_had;
  out["segments_linked"] = report.segments_linked;
  out["segments_dropped"] = report.segments_dropped;
  out["bytes"] = report.bytes;
  return out;
}

nb::dict Publish(const PyClient& client, const PyModel& model, nb::handle tokens,
                 const PyResult& fetched, nb::object cache, std::pair<uint32_t, uint32_t> range,
                 nb::handle pre_rope, nb::handle parts) {
  const Numbers ids(tokens, "tokens"), boundaries(parts, "parts");
  const Rows rows(std::move(cache), pre_rope, ids.get().size(), model.spec);
  const std::shared_ptr<Client> to = client.get();
  auto report = Unlocked([&] {
    return to->Publish(model.spec, ids.get(), fetched.result, {range.first, range.second},
                       rows.source, boundaries.get());
  });
  return DictOf(Take(std::move(report)));
}

// All that it reads stays until it is gone.
class PyPublishing {
 public:
  PyPublishing(const PyClient& client, const PyModel& model, nb::handle tokens,
               const PyResult& fetched, nb::object cache, std::pair<uint32_t, uint32_t> range,
               nb::handle pre_rope, nb::handle parts)
      : PyPublishing(client, model, Numbers(tokens, "tokens"), fetched, std::move(cache), range,
                     pre_rope, Numbers(parts, "parts")) {}

  void LayerDone(uint32_t layer) {
    const std::shared_ptr<PublishHandle> handle = Handle();
    auto status = Unlocked([&] { return handle->LayerDone(layer); });
    Check(status);
  }
  nb::dict Finish() {
    const std::shared_ptr<PublishHandle> handle = Handle();
    auto report = Unlocked([&] { return handle->Finish(); });
    return DictOf(Take(std::move(report)));
  }
  void Close() { handle_.reset(); }

 private:
  // Tokens are read once: `pre_rope`, which runs code of Python's, has a row for each of these.
  PyPublishing(const PyClient& client, const PyModel& model, const Numbers& ids,
               const PyResult& fetched, nb::object cache, std::pair<uint32_t, uint32_t> range,
               nb::handle pre_rope, const Numbers& boundaries)
      : client_(client.get()), rows_(std::move(cache), pre_rope, ids.get().size(), model.spec) {
    auto handle = Unlocked([&] {
      return client_->StartPublish(model.spec, ids.get(), fetched.result,
                                   {range.first, range.second}, rows_.source, boundaries.get());
    });
    handle_ = SharedWithoutGil(std::make_unique<PublishHandle>(Take(std::move(handle))));
  }

  std::shared_ptr<PublishHandle> Handle() const {
    if (handle_ == nullptr) Raise(absl::FailedPreconditionError("this publish is closed"));
    return handle_;
  }

  const std::shared_ptr<Client> client_;
  const Rows rows_;
  std::shared_ptr<PublishHandle> handle_;  // null: closed. Goes first
};

// ---- States

struct LogArrays {
  std::vector<LayerArrays> fields;
  LayerArrays conv_rows;
};

LogSource::Field FieldOf(const LayerArrays& arrays) {
  return {{arrays.pointers.begin(), arrays.pointers.end()}, arrays.stride};
}

LogSource ReadLog(nb::handle fields, nb::handle conv_rows, std::pair<uint32_t, uint32_t> range,
                  const base::StateSpec& spec, LogArrays* arrays) {
  LogSource log;
  if (range.first == range.second) return log;
  if (range.first > range.second) {
    Raise(absl::InvalidArgumentError("log_range ends before it begins"));
  }
  log.begin = range.first;
  log.end = range.second;
  const std::vector<uint64_t> widths = spec.field_bytes();
  nb::iterator field = IterateOver(fields, "log", "a sequence, one entry for each input");
  for (; field != nb::iterator::sentinel(); ++field) {
    const std::string name = absl::StrCat("log[", arrays->fields.size(), "]");
    if (arrays->fields.size() == widths.size()) {
      Raise(absl::InvalidArgumentError(
          absl::StrCat("log has more inputs than the model's ", widths.size())));
    }
    arrays->fields.push_back(ReadTokenLayers(*field, name, spec.num_layers, log.end - log.begin,
                                             widths[arrays->fields.size()]));
    arrays->fields.back().CheckPlace(name, nullptr);
    log.fields.push_back(FieldOf(arrays->fields.back()));
  }
  arrays->conv_rows = ReadTokenLayers(conv_rows, "conv_rows", spec.num_layers, log.end - log.begin,
                                      spec.conv_row_bytes());
  arrays->conv_rows.CheckPlace("conv_rows", nullptr);
  if (!arrays->conv_rows.keep.empty()) log.conv_rows = FieldOf(arrays->conv_rows);
  return log;
}

nb::dict DictOf(const StateReport& report) {
  nb::dict out;
  out["checkpoints"] = report.checkpoints;
  out["logs"] = report.logs;
  out["had"] = report.had;
  out["dropped"] = report.dropped;
  out["without_base"] = report.without_base;
  out["bytes"] = report.bytes;
  return out;
}

const PyState& StateOf(nb::handle from) {
  if (!nb::isinstance<PyState>(from)) {
    Raise(absl::InvalidArgumentError("points: {position: cistern.State} is wanted"));
  }
  return nb::cast<const PyState&>(from);
}
uint32_t PositionOf(nb::handle from) {
  uint32_t position = 0;
  if (!nb::try_cast(from, position)) {
    Raise(absl::InvalidArgumentError("points: a position is not an integer from 0 to 2^32 - 1"));
  }
  return position;
}

nb::dict PublishStates(const PyClient& client, const PyModel& model, nb::handle tokens,
                       const PyResult& fetched, nb::dict points, nb::handle log,
                       nb::handle conv_rows, std::pair<uint32_t, uint32_t> log_range,
                       uint32_t max_chain_tokens, bool tails_at_every_token, nb::handle parts) {
  const Numbers ids(tokens, "tokens"), boundaries(parts, "parts");
  StateSource source;
  std::vector<StateArrays> states;
  for (const auto& [position, state] : points) {
    states.push_back(ReadState(StateOf(state), model.spec.state, StateUse::kShare));
    source.points.push_back({PositionOf(position), states.back().view});
  }
  std::ranges::sort(source.points, {}, &StatePoint::position);
  LogArrays arrays;
  source.log = ReadLog(log, conv_rows, log_range, model.spec.state, &arrays);
  StatePolicy policy;
  policy.max_chain_tokens = max_chain_tokens;
  if (tails_at_every_token) policy.tails = base::LogTails::kEveryToken;
  const std::shared_ptr<Client> to = client.get();
  auto report = Unlocked([&] {
    return to->PublishStates(model.spec, ids.get(), fetched.result, source, policy,
                             boundaries.get());
  });
  return DictOf(Take(std::move(report)));
}

}  // namespace

void BindPublishing(nb::module_& module) {
  module.def("publish", Publish, "client"_a, "model"_a, "tokens"_a, "fetched"_a, "cache"_a,
             "range"_a, "pre_rope"_a.none(), "parts"_a.none());
  module.def("publish_states", PublishStates, "client"_a, "model"_a, "tokens"_a, "fetched"_a,
             "points"_a, "log"_a.none(), "conv_rows"_a.none(), "log_range"_a, "max_chain_tokens"_a,
             "tails_at_every_token"_a, "parts"_a.none());
  nb::class_<PyPublishing>(module, "Publishing")
      .def(nb::init<const PyClient&, const PyModel&, nb::handle, const PyResult&, nb::object,
                    std::pair<uint32_t, uint32_t>, nb::handle, nb::handle>(),
           "client"_a, "model"_a, "tokens"_a, "fetched"_a, "cache"_a, "range"_a,
           "pre_rope"_a.none(), "parts"_a.none())
      .def("layer_done", &PyPublishing::LayerDone, "layer"_a)
      .def("finish", &PyPublishing::Finish)
      .def("close", &PyPublishing::Close);
}

}  // namespace cistern::python
