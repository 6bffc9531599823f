// The door: a plain TCP port in front of UCX. A worker knocks, the node opens a UCX listener for it
// alone and says where.
//
//   worker: connect, send Knock ─► node: UCX listener on a port of its own, send Answer ─►
//   worker: UCX connection to that port ─► node: accept it, close the listener
//
// Why not UCX's listener itself: bytes that are not UCX's abort the process that reads them (its
// assertions are compiled into Debian's library; a kilobyte of zeros is enough). Behind the door
// UCX hears only who knows the knock, and an idle node has no UCX listener open.
//
// The TCP connection stays as the tether: when either process dies, the other's kernel says so at
// once, over every network that UCX may have chosen for the bytes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "transport/rpc/lane.h"
#include "transport/shm/unique_fd.h"
#include "transport/ucx/ucx_address.h"

namespace cistern::transport {

inline constexpr char kDoorMagic[8] = {'c', 'i', 's', 't', 'e', 'r', 'n', '\n'};
inline constexpr uint32_t kDoorVersion = 1;  // of Knock, Answer and ucx_frame.h

struct Knock {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
};
static_assert(sizeof(Knock) == 16);

struct Answer {
  char magic[8];
  uint32_t version;  // the node's
  uint32_t port;     // of its UCX listener. 0: no more workers get in, or another version.
                     // kCannotListen + an absl::StatusCode: no listener, and why
};
inline constexpr uint32_t kCannotListen = 1u << 16;
static_assert(sizeof(Answer) == 16);

Knock MakeKnock();
bool IsKnock(const Knock& knock);  // the magic; the version may be another
Answer MakeAnswer(uint32_t port);
Answer AnswerFor(const absl::StatusOr<uint16_t>& port);  // of the listener, or why there is none

// A socket that listens at `address`, and does not block. AlreadyExists when somebody else does,
// Unavailable when the address is not this machine's, ResourceExhausted.
absl::StatusOr<UniqueFd> OpenDoor(const SocketAddress& address);

struct Admission {
  UniqueFd tether;
  SocketAddress address;  // of the node's UCX listener
};
// Blocks, at most until `deadline`. Unavailable when nobody answers, FailedPrecondition when it is
// no node or one of another version, ResourceExhausted when the node lets no more workers in. A
// node that cannot open a listener on this address is Unavailable: another one of its addresses may
// do.
absl::StatusOr<Admission> KnockAt(const SocketAddress& address, absl::Time deadline);

// Watches a tether. When the other end is gone, `gone` runs once, a moment later: what it has sent
// over UCX before may still be on its way.
//
// Thread   the lane's
class Tether {
 public:
  Tether(Lane* lane, UniqueFd fd, absl::AnyInvocable<void()> gone);
  ~Tether();
  Tether(const Tether&) = delete;
  Tether& operator=(const Tether&) = delete;

 private:
  static constexpr absl::Duration kGrace = absl::Milliseconds(20);

  void OnEvent();

  Lane* const lane_;
  const UniqueFd fd_;
  absl::AnyInvocable<void()> gone_;
  Lane::FdToken watched_;
  Lane::TimerId timer_ = 0;
};

}  // namespace cistern::transport
