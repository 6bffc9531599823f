#include "storage/tier/payload_log.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

#include "base/status_macros.h"
#include "storage/tier/aligned_buffer.h"
#include "storage/tier/disk_dir.h"

namespace cistern::storage {
namespace {

constexpr uint32_t kMaxOpenFiles = 128;
constexpr uint64_t kStepsOfDisk = 64;

// The number in "payload-NNNNNNNN.log"; 0 for any other name.
uint32_t NumberOf(const std::string& name) {
  absl::string_view digits = name;
  uint32_t number = 0;
  if (!absl::ConsumePrefix(&digits, "payload-") || !absl::ConsumeSuffix(&digits, ".log")) return 0;
  const bool fits = digits.size() == 8 || digits.size() == 9;
  return fits && absl::SimpleAtoi(digits, &number) ? number : 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PayloadLog>> PayloadLog::Open(const PayloadLogOptions& options) {
  PayloadLogOptions with = options;
  if (with.calls == nullptr) with.calls = DiskCalls::System();
  const uint64_t capacity = SpaceOf(options.path).capacity_bytes;
  if (capacity != 0) with.step_bytes = std::min(with.step_bytes, capacity / kStepsOfDisk);
  with.step_bytes = std::max(RoundUpToPage(with.step_bytes), kPageBytes);
  std::unique_ptr<PayloadLog> log(new PayloadLog(with));
  CISTERN_RETURN_IF_ERROR(log->CheckPunching());
  CISTERN_RETURN_IF_ERROR(log->FindFiles());
  return log;
}

PayloadLog::~PayloadLog() { CloseCurrent(); }

std::string PayloadLog::PathOf(uint32_t number) const {
  return absl::StrCat(options_.path, "/", absl::StrFormat("payload-%08d.log", number));
}

absl::Status PayloadLog::CheckPunching() {
  const std::string path = options_.path + "/incoming/punch.probe";
  unlink(path.c_str());
  CISTERN_ASSIGN_OR_RETURN(const auto probe, PayloadFile::Create(path, {.calls = options_.calls}));
  absl::Status punched = probe->PunchHole(0, kPageBytes);
  unlink(path.c_str());
  return punched;
}

absl::Status PayloadLog::FindFiles() {
  base::MutexLock lock(&mutex_);
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.path, error), end; !error && it != end;
       it.increment(error)) {
    const uint32_t number = NumberOf(it->path().filename());
    if (number == 0) continue;
    struct stat found {};
    if (stat(it->path().c_str(), &found) != 0)
      return FromErrno(errno, "looking at a file of payload", it->path().string());
    File& file = files_[number];
    file.loading = true;
    file.end = static_cast<uint64_t>(found.st_size);
    file.disk_bytes = uint64_t{512} * static_cast<uint64_t>(found.st_blocks);
    next_number_ = std::max(next_number_, number + 1);
  }
  if (error) return FromErrno(error.value(), "looking for files of payload", options_.path);
  return absl::OkStatus();
}

bool PayloadLog::Contains(const Extent& extent) const {
  base::MutexLock lock(&mutex_);
  const auto it = files_.find(extent.file);
  return it != files_.end() && it->second.loading && extent.offset <= it->second.end &&
         extent.payload_bytes <= it->second.end - extent.offset;
}

std::optional<Extent> PayloadLog::Adopt(const Extent& extent) {
  base::MutexLock lock(&mutex_);
  File& file = files_.at(extent.file);
  const auto other = [&](const auto& it) {
    return Extent{.file = extent.file, .offset = it->first, .payload_bytes = it->second};
  };
  const auto next = file.adopted.lower_bound(extent.offset);
  if (next != file.adopted.end() && next->first < extent.end()) return other(next);
  if (next != file.adopted.begin()) {
    const Extent before = other(std::prev(next));
    if (before.end() > extent.offset) return before;
  }
  file.adopted.emplace_hint(next, extent.offset, extent.payload_bytes);
  file.live_bytes += extent.end() - extent.offset;
  return std::nullopt;
}

void PayloadLog::FinishLoading() {
  base::MutexLock lock(&mutex_);
  for (auto& [number, file] : files_) {
    if (!std::exchange(file.loading, false)) continue;
    uint64_t end = 0;
    for (const auto& [offset, payload_bytes] : file.adopted) {
      AddDead(&file, end, offset);
      end = offset + Extent::RoomFor(payload_bytes);
    }
    AddDead(&file, end, file.end);
    file.adopted = {};
  }
}

// ---- writing

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadLog::Begin(uint64_t bytes) {
  if (current_file_ == nullptr || position_ >= options_.file_bytes)
    CISTERN_RETURN_IF_ERROR(StartFile());
  const uint64_t allocated = allocated_.load(std::memory_order_relaxed), end = position_ + bytes;
  if (end > allocated) {
    const uint64_t needed = end - allocated;
    uint64_t made = (needed + options_.step_bytes - 1) / options_.step_bytes * options_.step_bytes;
    absl::Status status = current_file_->Allocate(allocated, made);
    if (!status.ok() && made > needed) {
      made = needed;
      (void)current_file_->Truncate(allocated);
      status = current_file_->Allocate(allocated, made);
    }
    if (!status.ok()) {
      (void)current_file_->Truncate(allocated);  // what it got before it failed
      return status;
    }
    allocated_.store(allocated + made, std::memory_order_relaxed);
  }
  return current_file_;
}

absl::Status PayloadLog::StartFile() {
  CloseCurrent();
  const uint32_t number = next_number_++;
  CISTERN_ASSIGN_OR_RETURN(current_file_,
                           PayloadFile::Create(PathOf(number), {.alignment = options_.alignment,
                                                                .calls = options_.calls}));
  position_ = 0;
  allocated_.store(0, std::memory_order_relaxed);
  {
    base::MutexLock lock(&mutex_);
    current_ = number;
    files_[number].open = current_file_;
    ++num_open_;
  }
  if (options_.calls->SyncDirectory(options_.path.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  CloseCurrent();
  return FromErrno(error, "syncing a directory of payload", options_.path);
}

void PayloadLog::CloseCurrent() {
  if (current_file_ == nullptr) return;
  (void)current_file_->Truncate(position_);  // at the next start the rest is garbage
  current_file_.reset();
  unused_bytes_.store(0, std::memory_order_relaxed);
  base::MutexLock lock(&mutex_);
  current_ = 0;
}

void PayloadLog::Abandon() { CloseCurrent(); }

Extent PayloadLog::Take(uint64_t payload_bytes) {
  base::MutexLock lock(&mutex_);
  const Extent extent{.file = current_, .offset = position_, .payload_bytes = payload_bytes};
  position_ = extent.end();
  File& file = files_[current_];
  file.end = position_;
  file.live_bytes += extent.end() - extent.offset;
  const uint64_t allocated = allocated_.load(std::memory_order_relaxed);
  unused_bytes_.store(allocated - std::min(allocated, position_), std::memory_order_relaxed);
  return extent;
}

absl::Status PayloadLog::Sync() { return current_file_->Sync(); }

// ---- reading and giving back

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadLog::FileOf(const Extent& extent) const {
  base::MutexLock lock(&mutex_);
  return OpenFile(extent.file);
}

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadLog::OpenFile(uint32_t number) const {
  const auto it = files_.find(number);
  if (it == files_.end())
    return absl::NotFoundError(absl::StrCat("disk tier: there is no ", PathOf(number)));
  const File& file = it->second;
  file.last_use = ++uses_;
  if (file.open != nullptr) return file.open;
  if (num_open_ >= kMaxOpenFiles) CloseLeastUsed();
  CISTERN_ASSIGN_OR_RETURN(
      file.open, PayloadFile::Open(PathOf(number),
                                   {.alignment = options_.alignment, .calls = options_.calls}));
  ++num_open_;
  return file.open;
}

void PayloadLog::CloseLeastUsed() const {
  const File* least = nullptr;
  for (const auto& [number, file] : files_) {
    if (file.open != nullptr && (least == nullptr || file.last_use < least->last_use))
      least = &file;
  }
  if (least == nullptr) return;
  least->open.reset();  // who reads it keeps it until the end of the read
  --num_open_;
}

void PayloadLog::AddDead(File* file, uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  file->dead_bytes += end - begin;
  auto next = file->dead.lower_bound(begin);
  if (next != file->dead.end() && next->first == end) {
    end = next->second;
    next = file->dead.erase(next);
  }
  if (next != file->dead.begin() && std::prev(next)->second == begin) {
    std::prev(next)->second = end;
  } else {
    file->dead.emplace_hint(next, begin, end);
  }
}

void PayloadLog::Free(const Extent& extent) {
  base::MutexLock lock(&mutex_);
  const auto it = files_.find(extent.file);
  if (it == files_.end()) return;
  File& file = it->second;
  file.live_bytes -= extent.end() - extent.offset;
  if (file.loading) {
    file.adopted.erase(extent.offset);  // FinishLoading finds the gap
  } else {
    AddDead(&file, extent.offset, extent.end());
  }
}

absl::Status PayloadLog::GiveBack(const std::atomic<bool>* stop) {
  base::MutexLock run(&run_mutex_);
  absl::Status result = RemoveDeadFiles();
  std::vector<std::pair<uint32_t, Ranges>> work;
  {
    base::MutexLock lock(&mutex_);
    for (auto& [number, file] : files_) {
      if (!file.dead.empty()) work.emplace_back(number, std::exchange(file.dead, {}));
    }
  }
  for (const auto& [number, ranges] : work) result.Update(PunchFile(number, ranges, stop));
  return result;
}

absl::Status PayloadLog::RemoveDeadFiles() {
  std::vector<uint32_t> gone;
  std::vector<uint64_t> bytes;
  {
    base::MutexLock lock(&mutex_);
    for (auto it = files_.begin(); it != files_.end();) {
      if (it->first == current_ || it->second.loading || it->second.live_bytes != 0) {
        ++it;
        continue;
      }
      gone.push_back(it->first);
      bytes.push_back(it->second.dead_bytes);
      if (it->second.open != nullptr) --num_open_;
      it = files_.erase(it);
    }
  }
  absl::Status result;
  for (size_t i = 0; i < gone.size(); ++i) {
    if (unlink(PathOf(gone[i]).c_str()) == 0 || errno == ENOENT) {
      reclaimed_bytes_.fetch_add(bytes[i], std::memory_order_relaxed);
    } else {  // the next start finds it
      result.Update(FromErrno(errno, "removing a file of payload", PathOf(gone[i])));
    }
  }
  return result;
}

absl::Status PayloadLog::PunchFile(uint32_t number, const Ranges& ranges,
                                   const std::atomic<bool>* stop) {
  absl::Status result;
  std::shared_ptr<PayloadFile> open;
  {
    base::MutexLock lock(&mutex_);
    auto opened = OpenFile(number);
    if (opened.ok())
      open = *std::move(opened);
    else
      result = opened.status();
  }
  for (const auto& [begin, end] : ranges) {
    const uint64_t bytes = end - begin;
    bool done = absl::IsNotFound(result);  // somebody else has removed it
    if (result.ok() && (stop == nullptr || !stop->load(std::memory_order_relaxed))) {
      const bool was_hole = open->IsHole(begin, bytes);  // or room that was never written
      result = open->PunchHole(begin, bytes);
      done = result.ok();
      if (done && !was_hole) reclaimed_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }
    base::MutexLock lock(&mutex_);
    File& file = files_.at(number);  // only RemoveDeadFiles takes files away, and this is its turn
    file.dead_bytes -= bytes;
    if (!done) AddDead(&file, begin, end);
  }
  return result;
}

uint64_t PayloadLog::file_bytes() const {
  base::MutexLock lock(&mutex_);
  uint64_t bytes = 0;
  for (const auto& [number, file] : files_)
    bytes += file.loading ? file.disk_bytes : file.live_bytes + file.dead_bytes;
  return bytes;
}

uint64_t PayloadLog::unused_bytes() const { return unused_bytes_.load(std::memory_order_relaxed); }

}  // namespace cistern::storage
