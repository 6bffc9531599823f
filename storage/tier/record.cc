#include "storage/tier/record.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"

namespace cistern::storage {
namespace {

static_assert(std::endian::native == std::endian::little,
              "records are written as they lie in memory");

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("disk record: ", what));
}

class Writer {
 public:
  explicit Writer(size_t bytes) { out_.reserve(bytes); }
  template <typename T>
  void Put(T value) {
    static_assert(std::is_integral_v<T>);
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Put(const base::Key& key) {
    Put(key.hi);
    Put(key.lo);
  }
  std::string Take() && { return std::move(out_); }
  const std::string& bytes() const { return out_; }

 private:
  std::string out_;
};

// Reads only after the length has been checked as a whole.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename T>
  T Get() {
    T value{};
    if (rest_.size() < sizeof(T)) {  // a caller that did not check; the value stays zero
      rest_ = {};
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  base::Key GetKey() {
    const uint64_t hi = Get<uint64_t>();
    return base::Key{hi, Get<uint64_t>()};
  }

 private:
  std::span<const std::byte> rest_;
};

uint64_t RecordBytes(uint64_t num_tokens, uint64_t num_pieces) {
  return kRecordFixedBytes + num_tokens * sizeof(base::TokenId) + num_pieces * sizeof(base::Key) +
         kRecordTrailerBytes;
}

absl::Status CheckFrame(std::span<const std::byte> bytes) {
  if (bytes.size() < RecordBytes(0, 0)) {
    return Damaged(absl::StrCat(bytes.size(), " bytes, shorter than any record"));
  }
  Reader reader(bytes);
  if (reader.Get<uint32_t>() != kRecordMagic) return Damaged("the magic number is wrong");
  const uint16_t version = reader.Get<uint16_t>();
  if (version != kRecordVersion) {
    return Damaged(
        absl::StrCat("version ", version, "; this reader knows version ", kRecordVersion));
  }
  if (reader.Get<uint16_t>() != 0) return Damaged("a reserved field is not zero");
  const uint32_t record_bytes = reader.Get<uint32_t>();
  if (record_bytes != bytes.size()) {
    return Damaged(absl::StrCat(bytes.size(), " bytes, but it says ", record_bytes));
  }
  const auto body = bytes.first(bytes.size() - kRecordTrailerBytes);
  if (Reader(bytes.last(kRecordTrailerBytes)).GetKey() != base::HashBytes(body)) {
    return Damaged("the checksum does not match");
  }
  return absl::OkStatus();
}

absl::Status CheckSizes(const DiskRecord& record, uint64_t num_tokens, uint64_t num_pieces,
                        size_t bytes) {
  if (record.id == 0) return Damaged("the write number is zero");
  if (record.piece_bytes < kMinPieceBytes || record.piece_bytes > kMaxPieceBytes ||
      record.piece_bytes % kExtentAlignment != 0) {
    return Damaged(absl::StrCat("pieces of ", record.piece_bytes, " bytes"));
  }
  const Extent& extent = record.extent;
  if (extent.payload_bytes == 0 || extent.payload_bytes > kMaxRecordPayload) {
    return Damaged(absl::StrCat("a payload of ", extent.payload_bytes, " bytes"));
  }
  if (extent.file == 0 || extent.offset % kExtentAlignment != 0 ||
      extent.offset > kMaxExtentOffset) {
    return Damaged(
        absl::StrCat("an extent at ", extent.offset, " of the payload file ", extent.file));
  }
  if (num_pieces != NumPieces(extent.payload_bytes, record.piece_bytes)) {
    return Damaged(absl::StrCat(num_pieces, " pieces for ", extent.payload_bytes, " bytes"));
  }
  if (num_tokens > base::ObjectHeader::kMaxTokens || RecordBytes(num_tokens, num_pieces) != bytes) {
    return Damaged("the counts do not add up to its length");
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t NumPieces(uint64_t payload_bytes, uint32_t piece_bytes) {
  return payload_bytes / piece_bytes + (payload_bytes % piece_bytes != 0);
}

uint64_t DiskRecord::PieceBytes(uint32_t index) const {
  const uint64_t begin = uint64_t{index} * piece_bytes;
  return std::min<uint64_t>(piece_bytes, extent.payload_bytes - begin);
}

std::string EncodeRecord(const DiskRecord& record) {
  const base::ObjectHeader& header = record.header;
  const uint64_t bytes = RecordBytes(header.tokens.size(), record.piece_checksums.size());
  Writer out(bytes);
  out.Put(kRecordMagic);
  out.Put(kRecordVersion);
  out.Put(uint16_t{0});
  out.Put(static_cast<uint32_t>(bytes));
  out.Put(record.piece_bytes);
  out.Put(record.id);
  out.Put(record.extent.payload_bytes);
  out.Put(static_cast<uint8_t>(header.kind));
  out.Put(static_cast<uint8_t>(header.encoding));
  out.Put(static_cast<uint8_t>(header.arithmetic));
  out.Put(static_cast<uint8_t>(header.lineage));
  out.Put(header.base_position);
  out.Put(header.model);
  out.Put(header.tenant);
  out.Put(header.content);
  out.Put(header.context);
  out.Put(header.parent_context);
  out.Put(header.previous_state);
  out.Put(header.blob_bytes);
  out.Put(header.num_tokens());
  out.Put(record.num_pieces());
  out.Put(record.extent.offset);
  out.Put(record.extent.file);
  out.Put(static_cast<uint32_t>(header.tails));
  for (base::TokenId token : header.tokens) out.Put(token);
  for (const base::Key& checksum : record.piece_checksums) out.Put(checksum);
  out.Put(base::HashBytes(absl::string_view(out.bytes())));
  return std::move(out).Take();
}

size_t RecordLength(std::span<const std::byte> bytes) {
  constexpr size_t kLengthOffset = 8;
  if (bytes.size() < RecordBytes(0, 0)) return bytes.size();
  return std::min<size_t>(Reader(bytes.subspan(kLengthOffset)).Get<uint32_t>(), bytes.size());
}

absl::StatusOr<DiskRecord> DecodeRecord(std::span<const std::byte> bytes) {
  if (absl::Status frame = CheckFrame(bytes); !frame.ok()) return frame;
  DiskRecord record;
  base::ObjectHeader& header = record.header;
  Reader in(bytes.subspan(12));  // past magic, version, reserved and length
  record.piece_bytes = in.Get<uint32_t>();
  record.id = in.Get<uint64_t>();
  record.extent.payload_bytes = in.Get<uint64_t>();
  const uint8_t kind = in.Get<uint8_t>(), encoding = in.Get<uint8_t>();
  const uint8_t arithmetic = in.Get<uint8_t>(), lineage = in.Get<uint8_t>();
  if (kind > 3 || encoding > 1 || arithmetic > 2 || lineage > 1)
    return Damaged("an unknown kind or encoding");
  header.kind = static_cast<base::ObjectKind>(kind);
  header.encoding = static_cast<base::RotaryEncoding>(encoding);
  header.arithmetic = static_cast<base::RotaryArithmetic>(arithmetic);
  header.lineage = static_cast<base::Lineage>(lineage);
  header.base_position = in.Get<uint32_t>();
  header.model = in.GetKey();
  header.tenant = in.Get<uint64_t>();
  header.content = in.GetKey();
  header.context = in.GetKey();
  header.parent_context = in.GetKey();
  header.previous_state = in.GetKey();
  header.blob_bytes = in.Get<uint64_t>();
  const uint32_t num_tokens = in.Get<uint32_t>(), num_pieces = in.Get<uint32_t>();
  record.extent.offset = in.Get<uint64_t>();
  record.extent.file = in.Get<uint32_t>();
  const uint32_t tails = in.Get<uint32_t>();
  if (tails > 1) return Damaged("unknown conv tails");
  header.tails = static_cast<base::LogTails>(tails);
  if (absl::Status sizes = CheckSizes(record, num_tokens, num_pieces, bytes.size()); !sizes.ok())
    return sizes;
  header.tokens.resize(num_tokens);
  for (base::TokenId& token : header.tokens) token = in.Get<uint32_t>();
  record.piece_checksums.resize(num_pieces);
  for (base::Key& checksum : record.piece_checksums) checksum = in.GetKey();
  if (absl::Status valid = header.Validate(); !valid.ok()) return Damaged(valid.message());
  return record;
}

namespace {

template <typename T>
void PutBigEndian(T value, std::string* out) {
  for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8)
    out->push_back(static_cast<char>(value >> shift));
}

template <typename T>
T GetBigEndian(absl::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

std::string EncodeRecordKey(const RecordKey& key) {
  std::string out;
  out.reserve(32);
  for (uint64_t part : {key.content.hi, key.content.lo, key.context.hi, key.context.lo})
    PutBigEndian(part, &out);
  return out;
}

absl::StatusOr<RecordKey> DecodeRecordKey(absl::string_view bytes) {
  if (bytes.size() != 32)
    return Damaged(absl::StrCat("a key of ", bytes.size(), " bytes; it must have 32"));
  uint64_t part[4];
  for (size_t i = 0; i < 4; ++i) part[i] = GetBigEndian<uint64_t>(bytes.substr(8 * i, 8));
  return RecordKey{.content = {part[0], part[1]}, .context = {part[2], part[3]}};
}

uint64_t DigestOf(std::span<const base::Key> piece_checksums) {
  return std::max<uint64_t>(1, base::HashBytes(std::as_bytes(piece_checksums)).lo);
}

}  // namespace cistern::storage
