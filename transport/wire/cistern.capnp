# The wire between workers, admin tools and nodes: what messages.h says, as Cap'n Proto.
#
# One Request has one Reply with the same callId. Bulk bytes travel beside the message as a call's payload.
#
# Versions. The hello carries the protocol's version, and both ends must have the same one. So that ends of different
# versions can tell each other so, these stay as they are for ever: Request's and Reply's first two fields, the kinds
# `hello` and `error`, and all of Hello, HelloReply and ErrorReply. New fields and kinds are added at the end with the
# next number; numbers are never reused. Keys lie flat (two words each) instead of behind pointers: a lookup of 64
# chunks is 64 times five words.

@0xf2eeafa0900d9de3;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("cistern::transport::wire");

struct Request {
  callId @0 :UInt64;          # the client's; not zero
  deadlineUs @1 :UInt64;      # from arrival; after it nobody waits
  sendBytes @2 :UInt64;       # payload of the request
  receiveBytes @3 :UInt64;    # payload that the caller has room for
  union {
    hello @4 :Hello;
    registerModel @5 :RegisterModel;
    find @6 :Find;
    lease @7 :Ids;            # object ids
    release @8 :Ids;          # lease ids
    read @9 :Transfer;        # lease ids
    reserve @10 :Reserve;
    write @11 :Transfer;      # reservation ids
    commit @12 :Ids;          # reservation ids
    abort @13 :Ids;           # reservation ids
    link @14 :Link;
    admin @15 :Admin;
  }
}

struct Reply {
  callId @0 :UInt64;
  payloadBytes @1 :UInt64;
  union {
    error @2 :ErrorReply;
    hello @3 :HelloReply;
    registerModel @4 :RegisterModelReply;
    find @5 :FindReply;
    lease @6 :LeaseReply;
    release @7 :Void;
    read @8 :ReadReply;
    reserve @9 :ReserveReply;
    write @10 :Void;
    commit @11 :UInt32;       # how many were committed
    abort @12 :Void;
    link @13 :UInt32;         # how many were linked
    admin @14 :Text;          # one JSON object
    committed @15 :UInt32;    # to a Write: how many were committed with it (none: write)
  }
}

# ---- Opening

struct Hello {
  version @0 :UInt32;
  clientName @1 :Text;
  wantMapping @2 :Bool;
}

struct HelloReply {
  version @0 :UInt32;
  nodeName @1 :Text;
  incarnation @2 :UInt64;
  arenaBytes @3 :UInt64;
  blobBlockBytes @4 :UInt64;
}

struct ErrorReply {
  code @0 :Int32;             # absl::StatusCode
  message @1 :Text;
}

# ---- Pieces

struct Ids {
  ids @0 :List(UInt64);
}

struct BlockRef {
  handle @0 :UInt32;
  generation @1 :UInt32;
  offset @2 :UInt64;
}

enum ObjectKind { segment @0; blob @1; checkpoint @2; log @3; }
enum RotaryEncoding { unrotated @0; rotated @1; }
enum RotaryArithmetic { fp32Table @0; bf16Table @1; bf16PerOp @2; }
enum Lineage { exact @0; approximate @1; }
enum LogTails { end @0; everyToken @1; }
enum Where { miss @0; memory @1; disk @2; }
enum Match { exact @0; content @1; }

struct ObjectHeader {
  kind @0 :ObjectKind;
  encoding @1 :RotaryEncoding;
  arithmetic @2 :RotaryArithmetic;
  lineage @3 :Lineage;
  modelHi @4 :UInt64;
  modelLo @5 :UInt64;
  contentHi @6 :UInt64;
  contentLo @7 :UInt64;
  contextHi @8 :UInt64;
  contextLo @9 :UInt64;
  parentContextHi @10 :UInt64;
  parentContextLo @11 :UInt64;
  tenant @12 :UInt64;
  basePosition @13 :UInt32;
  blobBytes @14 :UInt64;
  tokens @15 :List(UInt32);
  previousStateHi @16 :UInt64;
  previousStateLo @17 :UInt64;
  tails @18 :LogTails;
}

# ---- Models

struct RegisterModel {
  specJson @0 :Text;
}

struct RegisterModelReply {
  fingerprintHi @0 :UInt64;
  fingerprintLo @1 :UInt64;
}

# ---- Finding and reading

struct Find {
  modelHi @0 :UInt64;
  modelLo @1 :UInt64;
  startContextHi @2 :UInt64;
  startContextLo @3 :UInt64;
  lease @4 :Bool;
  lossless @5 :Bool;
  neighbours @6 :Bool;
  items @7 :List(FindItem);
  states @8 :Bool;
  release @9 :List(UInt64);   # lease ids
}

struct FindItem {
  contentHi @0 :UInt64;
  contentLo @1 :UInt64;
  contextHi @2 :UInt64;
  contextLo @3 :UInt64;
  acceptContent @4 :Bool;
}

struct FindReply {
  results @0 :List(FindResult);
  neighbours @1 :List(Neighbour);
  objectsUntil7 @2 :AnyPointer;  # not sent any more
  states @3 :List(UInt32);    # indexes of objects
  objects @4 :List(FoundObject);
  tokens @5 :List(UInt32);    # of all objects, in their order
  blocks @6 :List(BlockRef);  # likewise
}

struct FindResult {
  where @0 :Where;
  match @1 :Match;
  lineage @2 :Lineage;
  object @3 :UInt32;
}

struct Neighbour {
  item @0 :Int32;
  after @1 :Bool;
  match @2 :Match;
  lineage @3 :Lineage;
  object @4 :UInt32;
}

# An ObjectHeader without pointers, and what a reader needs beside it.
struct FoundObject {
  id @0 :UInt64;
  lease @1 :UInt64;
  kind @2 :ObjectKind;
  encoding @3 :RotaryEncoding;
  arithmetic @4 :RotaryArithmetic;
  lineage @5 :Lineage;
  tails @6 :LogTails;
  where @7 :Where;
  basePosition @8 :UInt32;
  modelHi @9 :UInt64;
  modelLo @10 :UInt64;
  contentHi @11 :UInt64;
  contentLo @12 :UInt64;
  contextHi @13 :UInt64;
  contextLo @14 :UInt64;
  parentContextHi @15 :UInt64;
  parentContextLo @16 :UInt64;
  previousStateHi @17 :UInt64;
  previousStateLo @18 :UInt64;
  tenant @19 :UInt64;
  blobBytes @20 :UInt64;
  numTokens @21 :UInt32;      # of FindReply's
  numBlocks @22 :UInt32;      # of FindReply's
}

enum LeaseOutcome { leased @0; gone @1; noRoom @2; }

struct LeaseResult {
  outcome @0 :LeaseOutcome;
  fromDisk @1 :Bool;
  lease @2 :UInt64;
  blocks @3 :List(BlockRef);
}

struct LeaseReply {
  results @0 :List(LeaseResult);
}

# Rows of layers [layerBegin, layerEnd) of leased or reserved objects: a Read or a Write.
struct Transfer {
  ids @0 :List(UInt64);
  layerBegin @1 :UInt32;
  layerEnd @2 :UInt32;
  checksum @3 :UInt64;        # of a Write's payload; 0 = not checked
  commit @4 :Bool;            # a Write's: what it completes is committed
}

struct ReadReply {
  payloadBytes @0 :UInt64;
  checksum @1 :UInt64;
}

# ---- Publishing

struct Reserve {
  headers @0 :List(ObjectHeader);
  payloadHeaders @1 :UInt32;  # the payload: layers [0, layerEnd) of the first so many; 0 = none
  layerEnd @2 :UInt32;
  checksum @3 :UInt64;
  commit @4 :Bool;
}

enum ReserveOutcome { reserved @0; alreadyHave @1; noRoom @2; tooLarge @3; }

struct ReserveResult {
  outcome @0 :ReserveOutcome;
  reservation @1 :UInt64;
}

struct ReserveReply {
  results @0 :List(ReserveResult);
  written @1 :Bool;
  committed @2 :UInt32;
}

struct Link {
  items @0 :List(LinkItem);
}

struct LinkItem {
  object @0 :UInt64;
  contextHi @1 :UInt64;
  contextLo @2 :UInt64;
  parentContextHi @3 :UInt64;
  parentContextLo @4 :UInt64;
}

# ---- Administration

enum AdminVerb { status @0; models @1; list @2; inspect @3; evict @4; pin @5; unpin @6; verify @7; flush @8; }

struct Admin {
  verb @0 :AdminVerb;
  keyHi @1 :UInt64;
  keyLo @2 :UInt64;
  modelHi @3 :UInt64;
  modelLo @4 :UInt64;
  modelName @5 :Text;
  tenant @6 :UInt64;
  hasTenant @7 :Bool;
  all @8 :Bool;
  limit @9 :UInt32;
  cursor @10 :UInt64;
}
