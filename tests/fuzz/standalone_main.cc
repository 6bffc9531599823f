// Runs a fuzz target without libFuzzer: every seed input as it is, then --runs mutations of them.
//
// Use      NAME [--runs=N] [--seed=S] [--only=I] (file | directory)...
// Promise  the same arguments and files give the same inputs on every machine: run I depends on
//          (S, I) alone, so that --only=I repeats the run that a failure names
// Exit     0 all inputs survived; 2 wrong arguments, or no seed inputs (a run that tries nothing
//          must not look like a success)
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): the sanitizers' name
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

constexpr size_t kMaxInputBytes = 1 << 16;
constexpr uint64_t kMaxMutations = 8;  // of one input

using Input = std::vector<uint8_t>;

struct Options {
  uint64_t runs = 0;
  uint64_t seed = 1;
  std::optional<uint64_t> only;
  std::vector<std::filesystem::path> paths;
};

// What is running now, for the message of a process that dies. Seeds come before run 0.
std::atomic<int64_t> current_run{-1};
uint64_t current_seed = 1;

void SayWhichRun() {
  std::array<char, 128> text{};
  const int64_t run = current_run.load();
  const int length =
      run < 0 ? std::snprintf(text.data(), text.size(), "fuzz: died on seed input %lld\n",
                              static_cast<long long>(-run - 1))
              : std::snprintf(
                    text.data(), text.size(),
                    "fuzz: died; repeat with --seed=%llu --only=%lld and the same inputs\n",
                    static_cast<unsigned long long>(current_seed), static_cast<long long>(run));
  [[maybe_unused]] const ssize_t ignored =
      write(STDERR_FILENO, text.data(), static_cast<size_t>(length));
}

void OnSignal(int signal) {
  SayWhichRun();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// SplitMix64: small, and the same everywhere, which std::uniform_int_distribution is not.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) { return bound == 0 ? 0 : Next() % bound; }

 private:
  uint64_t state_;
};

void OverwriteInteger(Random& random, Input* input) {
  constexpr std::array<uint64_t, 8> kInteresting = {
      0, 1, 0x7f, 0x80, 0x7fffffff, 0x80000000, 0x7fffffffffffffff, ~uint64_t{0}};
  const size_t width = size_t{1} << random.Below(4);
  if (input->size() < width) return;
  const uint64_t value = kInteresting[random.Below(kInteresting.size())];
  std::memcpy(input->data() + random.Below(input->size() - width + 1), &value, width);
}

// Copies a piece of `from` into `input`, between two of its bytes.
void Splice(Random& random, Input from, Input* input) {
  if (from.empty()) return;
  const size_t begin = random.Below(from.size());
  const size_t length = 1 + random.Below(std::min<size_t>(from.size() - begin, 64));
  const auto first = from.begin() + static_cast<ptrdiff_t>(begin);
  const auto at = input->begin() + static_cast<ptrdiff_t>(random.Below(input->size() + 1));
  input->insert(at, first, first + static_cast<ptrdiff_t>(length));
}

void Erase(Random& random, Input* input) {
  if (input->empty()) return;
  const size_t begin = random.Below(input->size());
  const size_t length = 1 + random.Below(std::min<size_t>(input->size() - begin, 64));
  const auto first = input->begin() + static_cast<ptrdiff_t>(begin);
  input->erase(first, first + static_cast<ptrdiff_t>(length));
}

void MutateOnce(Random& random, const std::vector<Input>& seeds, Input* input) {
  const uint64_t kind = random.Below(7);
  if (input->empty() || kind == 0) return Splice(random, seeds[random.Below(seeds.size())], input);
  switch (kind) {
    case 1:
      (*input)[random.Below(input->size())] ^= static_cast<uint8_t>(1u << random.Below(8));
      break;
    case 2:
      (*input)[random.Below(input->size())] = static_cast<uint8_t>(random.Next());
      break;
    case 3:
      OverwriteInteger(random, input);
      break;
    case 4:
      Erase(random, input);
      break;
    case 5:
      Splice(random, *input, input);
      break;
    default:
      if (random.Below(4) == 0) input->resize(random.Below(input->size()) + 1);
      break;
  }
}

Input Mutated(const std::vector<Input>& seeds, uint64_t seed, uint64_t run) {
  Random random(seed * 0xd1342543de82ef95 + run);
  Input input = seeds[random.Below(seeds.size())];
  const uint64_t mutations = 1 + random.Below(kMaxMutations);
  for (uint64_t i = 0; i < mutations; ++i) MutateOnce(random, seeds, &input);
  if (input.size() > kMaxInputBytes) input.resize(kMaxInputBytes);
  return input;
}

// An exact copy on the heap, so that a read one past the end is seen.
void RunOne(const Input& input) {
  const auto copy = std::make_unique<uint8_t[]>(input.size());
  std::copy(input.begin(), input.end(), copy.get());
  LLVMFuzzerTestOneInput(copy.get(), input.size());
}

bool ParseNumber(const std::string& text, uint64_t* value) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return false;
  *value = std::strtoull(text.c_str(), nullptr, 10);
  return true;
}

bool SetOption(const std::string& name, uint64_t value, Options* options) {
  if (name == "--runs") {
    options->runs = value;
  } else if (name == "--seed") {
    options->seed = value;
  } else if (name == "--only") {
    options->only = value;
  } else {
    return false;
  }
  return true;
}

std::optional<Options> ParseArguments(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    uint64_t value = 0;
    if (argument.rfind("--", 0) != 0) {
      options.paths.emplace_back(argument);
      continue;
    }
    if (equals == std::string::npos || !ParseNumber(argument.substr(equals + 1), &value) ||
        !SetOption(name, value, &options)) {
      return std::nullopt;
    }
  }
  return options;
}

// The files that `paths` name, in an order that does not depend on the file system.
std::vector<Input> ReadSeeds(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> files;
  for (const auto& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.filename() < b.filename(); });
  std::vector<Input> seeds;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
      std::fprintf(stderr, "fuzz: cannot read %s\n", file.c_str());
      continue;
    }
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return seeds;
}

void Watch(uint64_t seed) {
  current_seed = seed;
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(&SayWhichRun);
  } else {
    std::signal(SIGSEGV, &OnSignal);
  }
  std::signal(SIGABRT, &OnSignal);
}

void RunAll(const Options& options, const std::vector<Input>& seeds) {
  if (options.only.has_value()) {
    current_run = static_cast<int64_t>(*options.only);
    return RunOne(Mutated(seeds, options.seed, *options.only));
  }
  for (size_t i = 0; i < seeds.size(); ++i) {
    current_run = -static_cast<int64_t>(i) - 1;
    RunOne(seeds[i]);
  }
  for (uint64_t run = 0; run < options.runs; ++run) {
    current_run = static_cast<int64_t>(run);
    RunOne(Mutated(seeds, options.seed, run));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  const std::optional<Options> options = ParseArguments(argc, argv);
  if (!options.has_value() || options->paths.empty()) {
    std::fprintf(stderr, "use: %s [--runs=N] [--seed=S] [--only=I] (file | directory)...\n",
                 argv[0]);
    return 2;
  }
  const std::vector<Input> seeds = ReadSeeds(options->paths);
  if (seeds.empty()) {
    std::fprintf(stderr, "fuzz: no seed inputs; give files, or a directory that has some\n");
    return 2;
  }
  Watch(options->seed);
  RunAll(*options, seeds);
  std::printf("fuzz: %zu seed inputs and %llu mutations survived (seed %llu)\n", seeds.size(),
              static_cast<unsigned long long>(options->only.has_value() ? 1 : options->runs),
              static_cast<unsigned long long>(options->seed));
  return 0;
}
