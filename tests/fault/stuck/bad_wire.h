// Two hosts on this machine with a wire between them that can be cut, lose packets and be slow: two
// network namespaces, each with a tun device, and a thread that carries the packets.
//
//   here, 10.77.0.1  (the thread that made the wire, and threads that it starts)
//   there, 10.77.0.2 (what StartThere starts)
//
// Needs root, /dev/net/tun and `ip`.
//
// Thread   the settings: any
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cistern::stuck {

class BadWire {
 public:
  // Moves the calling thread to its side of the wire for good: for a process of its own.
  // FailedPrecondition: not allowed to, or something is not there; the text says what.
  static absl::StatusOr<std::unique_ptr<BadWire>> Make();
  ~BadWire();

  // Runs `start` in the other host's place, in a thread that ends with it: the processes that it
  // starts are there.
  void StartThere(const std::function<void()>& start);

  void Cut(bool cut) { cut_.store(cut); }
  void LosePercent(uint32_t percent) { lose_percent_.store(percent); }
  void Delay(absl::Duration each_way) { delay_us_.store(absl::ToInt64Microseconds(each_way)); }

  uint64_t carried() const { return carried_.load(); }
  uint64_t lost() const { return lost_.load(); }

  static constexpr char kThere[] = "10.77.0.2";

 private:
  BadWire() = default;
  void Carry();

  int here_ = -1, there_ = -1;              // tun devices
  int there_net_ = -1, there_mounts_ = -1;  // namespaces
  std::atomic<bool> stop_{false}, cut_{false};
  std::atomic<uint32_t> lose_percent_{0};
  std::atomic<int64_t> delay_us_{0};
  std::atomic<uint64_t> carried_{0}, lost_{0};
  std::thread carrier_;
};

}  // namespace cistern::stuck
