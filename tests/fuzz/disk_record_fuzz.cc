// Disk records: whatever bytes lie on the disk, decoding them is safe, and what is accepted is
// exactly what was written.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/key.h"
#include "storage/tier/record.h"

namespace {

using cistern::storage::DecodeRecord;
using cistern::storage::EncodeRecord;
using cistern::storage::kRecordTrailerBytes;

void Check(std::span<const std::byte> bytes) {
  const auto record = DecodeRecord(bytes);
  if (!record.ok()) return;
  const std::string again = EncodeRecord(*record);
  if (again.size() != bytes.size() || std::memcmp(again.data(), bytes.data(), again.size()) != 0)
    std::abort();
  uint64_t payload = 0;
  for (uint32_t i = 0; i < record->num_pieces(); ++i) payload += record->PieceBytes(i);
  if (payload != record->extent.payload_bytes || !record->header.Validate().ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> bytes(size);
  if (size != 0) std::memcpy(bytes.data(), data, size);
  Check(bytes);

  // A checksum keeps every mutation out: once more with the length and the checksum set right.
  if (size >= 12 + kRecordTrailerBytes) {
    const auto length = static_cast<uint32_t>(size);
    std::memcpy(bytes.data() + 8, &length, sizeof(length));
    const cistern::base::Key checksum = cistern::base::HashBytes(
        std::span<const std::byte>(bytes).first(size - kRecordTrailerBytes));
    std::memcpy(bytes.data() + size - 16, &checksum.hi, 8);
    std::memcpy(bytes.data() + size - 8, &checksum.lo, 8);
    Check(bytes);
  }

  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto key = cistern::storage::DecodeRecordKey(text); key.ok()) {
    if (cistern::storage::EncodeRecordKey(*key) != text) std::abort();
  }
  return 0;
}
