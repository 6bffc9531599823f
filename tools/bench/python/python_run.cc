#include "tools/bench/python/python_run.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/node_process.h"
#include "tools/bench/python/cpp_worker.h"
#include "tools/bench/python/python_worker.h"
#include "tools/bench/transfer/transfer_calls.h"

namespace cistern::tools {
namespace {

constexpr double kMaxOverheadUs = 15;
constexpr double kMaxRatio = 1.1;
constexpr char kSmall[] = "4KiB";
constexpr char kLarge[] = "16MiB";

struct WorkKind {
  const char* name;
  const char* what;
  bool large;  // 16 MiB at once
  PythonGoal goal;
};

constexpr std::array<WorkKind, 9> kWorks = {{
    {"find", "blobs.find of 64 names", false, {kMaxOverheadUs, kMaxRatio}},
    {"plan", "64 chunks, tokens in an array", false, {kMaxOverheadUs, kMaxRatio}},
    {"plan_list", "64 chunks, tokens in a list", false, {kMaxOverheadUs, 0}},
    {"fetch", "4 KiB of rows, planned before", false, {kMaxOverheadUs, 0}},
    {"get", "blobs.get of 4 KiB", false, {kMaxOverheadUs, 0}},
    {"put", "blobs.put of 4 KiB", false, {kMaxOverheadUs, 0}},
    {"publish", "4 KiB of rows", false, {kMaxOverheadUs, 0}},
    {"view", "16 MiB in place, one pass", true, {0, kMaxRatio}},
    {"publish_rows", "16 MiB of rows", true, {0, kMaxRatio}},
}};

absl::StatusOr<WorkTerms> TermsFor(const std::string& address) {
  WorkTerms terms{.address = address};
  CISTERN_ASSIGN_OR_RETURN(terms.lookup, base::ModelPreset("deepseek-v2-lite"));
  terms.lookup = base::WithLayers(std::move(terms.lookup), 1);
  terms.lookup.revision += " lookups";
  terms.lookup.boundary_tokens.clear();
  CISTERN_ASSIGN_OR_RETURN(terms.small, ParseTransferShape(kSmall));
  CISTERN_ASSIGN_OR_RETURN(terms.large, ParseTransferShape(kLarge));
  return terms;
}

double MedianUs(const WorkTimes& times) {
  Samples samples;
  for (const double us : times.us) samples.Add(us);
  return samples.Median();
}

// Both sides and the node that they work with; the node goes last.
struct PythonBenchRun {
  std::unique_ptr<ScratchDirectory> scratch;
  std::unique_ptr<NodeProcess> node;
  std::unique_ptr<transport::Link> raw;
  WorkTerms terms;
  std::unique_ptr<BenchWorker> cpp;
  PythonWorker python;
};

absl::StatusOr<PythonBenchRun> StartPythonRun(const PythonOptions& options) {
  PythonBenchRun run;
  CISTERN_ASSIGN_OR_RETURN(run.scratch, ScratchDirectory::Make());
  CISTERN_ASSIGN_OR_RETURN(run.node, NodeProcess::Start({.binary = options.server,
                                                         .directory = run.scratch->path(),
                                                         .pool_bytes = 1ull << 30,
                                                         .disk = false}));
  CISTERN_ASSIGN_OR_RETURN(run.raw, transport::Connect(run.node->address(), {}));
  CISTERN_ASSIGN_OR_RETURN(run.terms, TermsFor(run.node->address()));
  CISTERN_ASSIGN_OR_RETURN(run.cpp, StartCppWorker(run.terms));
  CISTERN_ASSIGN_OR_RETURN(run.python, StartPythonWorker({.interpreter = options.interpreter,
                                                          .script = options.script,
                                                          .package = options.package,
                                                          .pass_library = options.pass_library,
                                                          .directory = run.scratch->path(),
                                                          .flip_a_byte = options.flip_a_byte},
                                                         run.terms));
  return run;
}

// Round 0 warms up. In every other round the other side goes first.
absl::StatusOr<PythonLine> MeasureWork(const PythonOptions& options, const WorkKind& kind,
                                       PythonBenchRun& run) {
  PythonLine line{.work = kind.name, .what = kind.what, .goal = kind.goal};
  line.calls = kind.large ? std::max(1u, options.calls / 20) : options.calls;
  PythonRounds rounds;
  for (uint32_t round = 0; round <= options.rounds; ++round) {
    WorkTimes cpp, python;
    for (const bool python_now : {round % 2 == 0, round % 2 != 0}) {
      BenchWorker& worker = python_now ? *run.python.worker : *run.cpp;
      CISTERN_ASSIGN_OR_RETURN((python_now ? python : cpp),
                               worker.Measure(kind.name, static_cast<uint32_t>(line.calls)));
    }
    // What was published makes room for the next round's.
    CISTERN_RETURN_IF_ERROR(EvictModel(*run.raw, run.terms.large.model));
    if (round == 0) continue;
    rounds.Add(MedianUs(cpp), MedianUs(python));
    line.extra_bytes = std::max(line.extra_bytes, python.extra_bytes);
  }
  rounds.Fill(&line);
  if (line.work == "publish_rows") {
    line.arrays = run.python.arrays;
    line.in_place = run.python.in_place;
    line.bytes = run.terms.large.bytes();
  }
  return line;
}

}  // namespace

std::vector<std::string> AllPythonWorks() {
  std::vector<std::string> names;
  names.reserve(kWorks.size());
  for (const WorkKind& kind : kWorks) names.emplace_back(kind.name);
  return names;
}

absl::StatusOr<std::vector<std::string>> ParsePythonWorks(absl::string_view words) {
  const std::vector<std::string> all = AllPythonWorks();
  std::vector<std::string> asked;
  for (const absl::string_view word : absl::StrSplit(words, ',', absl::SkipWhitespace())) {
    asked.emplace_back(absl::StripAsciiWhitespace(word));
    if (std::find(all.begin(), all.end(), asked.back()) == all.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--works '", asked.back(), "'; there are: ", absl::StrJoin(all, ", ")));
    }
  }
  if (asked.empty()) return absl::InvalidArgumentError("--works names none");
  std::vector<std::string> works;
  std::copy_if(all.begin(), all.end(), std::back_inserter(works), [&](const std::string& work) {
    return std::find(asked.begin(), asked.end(), work) != asked.end();
  });
  return works;
}

absl::Status RunPythonBench(const PythonOptions& options, const EmitPythonLine& emit) {
  CISTERN_ASSIGN_OR_RETURN(PythonBenchRun run, StartPythonRun(options));
  for (const WorkKind& kind : kWorks) {
    if (std::find(options.works.begin(), options.works.end(), kind.name) == options.works.end())
      continue;
    CISTERN_ASSIGN_OR_RETURN(const PythonLine line, MeasureWork(options, kind, run));
    emit(line);
  }
  return absl::OkStatus();
}

}  // namespace cistern::tools
