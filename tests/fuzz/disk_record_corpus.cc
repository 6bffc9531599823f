// Writes the seeds of disk_record_fuzz: one record of each kind, and a record's key.
//
// Use      disk_record_corpus DIRECTORY    (tests/fuzz/corpus/disk_record; again when the record
// has
//          changed)
#include <cstdio>
#include <fstream>
#include <string>

#include "storage/tier/record.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace {

using namespace cistern::storage;  // NOLINT(google-build-using-namespace): a program of one page

bool Write(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  return file.good();
}

std::string Record(const cistern::base::ObjectHeader& header, uint64_t payload_bytes) {
  DiskRecord record{.id = 42,
                    .header = header,
                    .extent = {.file = 7, .offset = 12 << 12, .payload_bytes = payload_bytes}};
  for (uint64_t i = 0; i < NumPieces(payload_bytes, record.piece_bytes); ++i)
    record.piece_checksums.push_back({i, ~i});
  return EncodeRecord(record);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "use: disk_record_corpus DIRECTORY\n");
    return 2;
  }
  const std::string directory = argv[1];
  const cistern::base::ModelSpec spec = TestModel("hybrid", 2, 64);
  const cistern::base::ObjectHeader segment = TestSegment(spec, 1, 3, 20);
  const cistern::base::ObjectHeader state = TestCheckpoint(spec, segment, 9, {1, 2});
  const bool good =
      Write(directory + "/segment", Record(segment, 20 * 128)) &&
      Write(directory + "/segment_pieces", Record(segment, (4 << 20) + 1)) &&
      Write(directory + "/blob", Record(TestBlob(1, 100), 100)) &&
      Write(directory + "/checkpoint", Record(state, 1056)) &&
      Write(directory + "/log", Record(TestLog(spec, state, 2, 3), 648)) &&
      Write(directory + "/log_tails",
            Record(TestLog(spec, state, 2, 3, cistern::base::LogTails::kEveryToken), 648)) &&
      Write(directory + "/record_key", EncodeRecordKey(KeyOf(segment)));
  return good ? 0 : 1;
}
