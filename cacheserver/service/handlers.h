// One function per kind of call, one file per concern. Each answers its call, now or later.
//
//   models.cc   RegisterModel        lease.cc    Lease, Release      write.cc    Write
//   find.cc     Find                 read.cc     Read                commit.cc   Commit, Abort,
//   Link reserve.cc  Reserve              admin.cc    Admin (admin_status.cc, admin_objects.cc,
//                                                admin_verify.cc)
//
// Thread   a lane's; none of them blocks
#pragma once

#include "cacheserver/service/call.h"
#include "cacheserver/service/parts.h"

namespace cistern::cacheserver {

// Of an estimate of an encoded reply: kMaxMessageBytes is the law, the rest is for what the
// estimate forgets.
inline constexpr uint64_t kMaxReplyBytes = transport::kMaxMessageBytes * 3 / 4;

void HandleRegisterModel(const Parts& parts, const CallPtr& call);
void HandleFind(const Parts& parts, const CallPtr& call);
void HandleLease(const Parts& parts, const CallPtr& call);
void HandleRelease(const Parts& parts, const CallPtr& call);
void HandleRead(const Parts& parts, const CallPtr& call);
void HandleReserve(const Parts& parts, const CallPtr& call);
void HandleWrite(const Parts& parts, const CallPtr& call);
void HandleCommit(const Parts& parts, const CallPtr& call);
void HandleAbort(const Parts& parts, const CallPtr& call);
void HandleLink(const Parts& parts, const CallPtr& call);
void HandleAdmin(const Parts& parts, const CallPtr& call);

}  // namespace cistern::cacheserver
