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

void HandleRegisterModel(const Parts& parts, CallPtr call);
void HandleFind(const Parts& parts, CallPtr call);
void HandleLease(const Parts& parts, CallPtr call);
void HandleRelease(const Parts& parts, CallPtr call);
void HandleRead(const Parts& parts, CallPtr call);
void HandleReserve(const Parts& parts, CallPtr call);
void HandleWrite(const Parts& parts, CallPtr call);
void HandleCommit(const Parts& parts, CallPtr call);
void HandleAbort(const Parts& parts, CallPtr call);
void HandleLink(const Parts& parts, CallPtr call);
void HandleAdmin(const Parts& parts, CallPtr call);

}  // namespace cistern::cacheserver
