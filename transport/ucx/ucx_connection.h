// One connection over UCX, the same at both ends: whole messages, each with its payload beside it.
//
//   Send* ; events: OnMessage* OnClosed            OnMessage: (Receive | Drop) once, if it has a
//   payload
//
// How they travel (README.md has it for other implementations):
//   a message that fits in an active message's header   one active message: header = message, data
//   = payload a longer one                                        two: data = message, then data =
//   payload, with a tag in common
// A payload above kEagerBytes stays with its sender until the receiver says where to, or goes at
// once to a receiver that has said so before. Over TCP it travels in pieces, each packed and
// checked by us; over anything else by UCX's rendezvous (README.md says why).
//
// Peer failure handling is on: when the peer dies, every send and receive ends, then OnClosed runs.
// A payload in pieces can be taken back at any time, at both ends. UCX itself can take back no
// single transfer: to get a buffer back early means to Close.
//
// Thread   Send, Receive, Drop, Close, open, InPieces: any. Everything else, and all callbacks: the
// lane's.
//          After OnClosed neither lane nor worker is touched
// Errors   a frame that makes no sense: OnBadFrame, then the connection closes
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "ucp/api/ucp.h"

#include "base/mutex.h"
#include "transport/rpc/lane.h"
#include "transport/rpc/mono_time.h"
#include "transport/rpc/once.h"
#include "transport/slice.h"
#include "transport/ucx/payload_inbox.h"
#include "transport/ucx/payload_outbox.h"
#include "transport/ucx/ucx_frame.h"

namespace cistern::transport {

class UcxWorker;

// A payload that has been announced and waits, with its sender (rendezvous, pieces) or here
// (eager).
struct UcxPayload {
  uint64_t id = 0;  // 0: there is none
  uint64_t bytes = 0;
  uint64_t tag = 0;  // of one that comes in pieces
};

struct UcxSendOptions {
  bool has_room = false;  // the receiver has said where the payload goes, before it was sent
  uint64_t name = 0;      // what Withdraw will know the payload by; 0: nothing
};

// What a connection tells its user.
class UcxEvents {
 public:
  virtual ~UcxEvents() = default;
  // `message` is valid during the call.
  virtual void OnMessage(std::span<const std::byte> message, UcxPayload payload) = 0;
  virtual void OnBadFrame(const absl::Status& what) = 0;
  virtual void OnClosed(const absl::Status& why) = 0;  // the last one
};

class UcxConnection : public std::enable_shared_from_this<UcxConnection> {
 public:
  // A larger payload goes in pieces or by rendezvous, a larger message by rendezvous.
  static constexpr uint64_t kEagerBytes = 256u << 10;
  // A peer that takes nothing of what it is sent for so long is stopped, not slow.
  static constexpr absl::Duration kStalledAfter = absl::Seconds(60);

  UcxConnection(UcxWorker* worker, std::shared_ptr<UcxEvents> events);
  ~UcxConnection();

  // `payload` is borrowed until `sent` runs: when it has left, or never will.
  void Send(std::string message, std::vector<Slice> payload, Sent sent,
            UcxSendOptions options = {});
  // The payload with this name goes no further, and its `sent` has run. False: it is not in pieces,
  // or has left.
  bool Withdraw(uint64_t name);

  // The sizes must agree. Unavailable when the connection closes first.
  void Receive(UcxPayload payload, std::vector<MutableSlice> into, Received done);
  void Drop(UcxPayload payload);
  // Of one that is being received: nothing writes to its memory any more, and `done` has run.
  // False: it does not come in pieces, or has come.
  bool Abandon(const UcxPayload& payload);

  // Payloads of so many bytes travel in pieces, and are checked. Any thread, once a message has
  // come.
  bool InPieces(uint64_t bytes) const {
    return bytes > kEagerBytes && in_pieces_.load(std::memory_order_acquire);
  }

  // Ends every transfer, then runs OnClosed(why) soon. The first `why` stays. With `flush`, what
  // UCX has been given has kFlushPatience to leave before; payloads in pieces are cut off.
  void Close(absl::Status why, bool flush = false);

  bool open() const { return open_.load(std::memory_order_acquire); }

 private:
  friend class UcxWorker;
  struct Operation;

  static constexpr absl::Duration kFlushPatience = absl::Milliseconds(500);
  // Of a peer's long messages that wait for their payloads, and payloads for their messages.
  static constexpr size_t kMaxHalves = 4096;
  static constexpr uint64_t kMaxHalfBytes = 64u << 20;  // of them that lie here

  // A payload, or a long message, as UCX hands it over.
  struct Data {
    void* descriptor = nullptr;  // UCX's; nullptr when `copy` has it
    uint64_t bytes = 0;
    bool rendezvous = false;
    bool in_callback = false;  // UCX takes the descriptor back by itself when its callback returns
    uint64_t tag = 0;          // not 0: it comes in pieces, and nothing of it is here
    bool pulled = false;       // in pieces, once they are asked for
    std::vector<std::byte> copy;
  };
  // What has come of a long message and its payload.
  struct Half {
    bool has_message = false;
    std::string message;
    uint64_t payload_bytes = 0;
    UcxPayload payload;
    uint64_t held_bytes = 0;  // of the message, and of the payload if it came eagerly
  };
  struct LongMessage {
    LongHeader header;
    uint64_t data_id = 0;
  };

  void RunOnLane(absl::AnyInvocable<void()> task);

  // ---- Sending (ucx_connection.cc)
  void SendNow(std::string message, std::vector<Slice> payload, Sent sent, UcxSendOptions options);
  void Post(UcxFrameKind kind, std::string header, std::string body,
            const std::vector<Slice>& payload, Sent sent);
  void Began(Operation* operation, ucs_status_ptr_t request);
  void Finish(Operation* operation, ucs_status_t status);
  static void OnSendDone(void* request, ucs_status_t status, void* operation);
  static void OnReceiveDone(void* request, ucs_status_t status, size_t bytes, void* operation);

  // ---- Payloads in pieces (ucx_pieces.cc)
  void SendInPieces(std::string message, std::vector<Slice> payload, Sent sent,
                    UcxSendOptions options);
  void Pump();
  void PostPiece();
  void Tell(UcxFrameKind kind, uint64_t tag);
  void OnAnnounced(const LongHeader& header, std::string message);
  void OnPieceFrame(UcxFrameKind kind, std::span<const std::byte> header, Data&& data);
  void OnWordOfPieces(UcxFrameKind kind, uint64_t tag);

  // ---- Receiving (ucx_receive.cc)
  ucs_status_t OnFrame(UcxFrameKind kind, std::span<const std::byte> header, Data&& data,
                       bool can_keep);
  void OnLongMessage(std::span<const std::byte> header, uint64_t data_id);
  void OnLatePayload(std::span<const std::byte> header, UcxPayload payload);
  void ReadLongMessages();
  void OnWholeMessage(const LongHeader& header, std::string message);
  bool Hold(Half* half, uint64_t bytes);
  void TryDeliver(uint64_t tag);
  void ReceiveNow(UcxPayload payload, const std::vector<MutableSlice>& into, Received done);
  void ReceiveRendezvous(void* descriptor, std::unique_ptr<Operation> operation);
  void Release(Data& data);
  void Bad(absl::string_view what);

  // ---- Closing (ucx_close.cc)
  static void OnEndpointError(void* self, ucp_ep_h endpoint, ucs_status_t status);
  void CloseNow(absl::Status why, bool flush);
  void StartFlush();
  void CloseEndpoint();
  void TryFinishClosing();
  void Abort();  // the worker is gone: ends what it has left
  bool Stalled(MonoTime now) const;

  // Taken away, under the mutex, when the connection has closed.
  base::Mutex mutex_;
  Lane* lane_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> open_{true};

  // The lane's own.
  UcxWorker* worker_;
  std::shared_ptr<UcxEvents> events_;
  ucp_ep_h endpoint_ = nullptr;  // nullptr once it is closed
  absl::Duration transfer_timeout_ =
      absl::InfiniteDuration();  // of one; infinite: stalls do not matter
  absl::Status why_;
  Lane::TimerId flush_timer_ = 0;
  absl::flat_hash_set<Operation*> operations_;
  MonoTime last_finished_;  // of an operation, or when the first of them began
  uint64_t next_data_id_ = 1;
  uint64_t next_tag_ = 1;
  absl::flat_hash_map<uint64_t, Data> held_;
  absl::flat_hash_map<uint64_t, Half> halves_;  // by tag
  uint64_t half_bytes_ = 0;                     // held for halves_
  std::deque<LongMessage> long_messages_;       // by rendezvous; read one at a time
  bool reading_long_message_ = false;

  std::atomic<bool> in_pieces_{false};
  bool knows_way_ = false;  // in_pieces_ is as it stays
  PayloadOutbox outbox_;
  PayloadInbox inbox_;
  uint32_t pieces_under_way_ = 0;
  bool pumping_ = false;
  bool will_pump_ = false;
};

}  // namespace cistern::transport
