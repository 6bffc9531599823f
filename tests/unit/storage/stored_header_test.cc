// What is kept of a header gives the header back, and what follows from it.
#include "storage/stored_header.h"

#include <gtest/gtest.h>

#include "storage/object_shape.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"
#include "tests/unit/storage/stored_fixture.h"

namespace cistern::storage {
namespace {

base::ModelSpec Hybrid() {
  base::ModelSpec spec = TestModel("m", 2, 64);
  spec.state = TestState();
  return spec;
}

class StoredHeaderTest : public testing::Test {
 protected:
  const base::ModelSpec spec_ = Hybrid();
  StoredHeaders stored_;
};

TEST_F(StoredHeaderTest, EveryKindComesBackAsItWas) {
  base::ObjectHeader segment = TestSegment(spec_, 1, 2, 40, base::Lineage::kApproximate);
  segment.tenant = 77;
  segment.encoding = base::RotaryEncoding::kRotated;
  segment.arithmetic = base::RotaryArithmetic::kBf16PerOp;
  const base::ObjectHeader state = TestCheckpoint(spec_, segment, 24);
  const base::ObjectHeader later = TestCheckpoint(spec_, segment, 40, state.context);
  base::ObjectHeader log = TestLog(spec_, state, 5, 4);
  log.tails = base::LogTails::kEveryToken;
  for (const base::ObjectHeader& header : {segment, state, later, log, TestBlob(3, 5ull << 20)}) {
    const bool blob = header.kind == base::ObjectKind::kBlob;
    const StoredHeader stored = stored_.Of(header, blob ? nullptr : &spec_);
    EXPECT_EQ(stored.Full(), header) << base::ToString(header.kind);
    EXPECT_EQ(stored, header);
    EXPECT_EQ(stored.previous_state(), header.previous_state);
    EXPECT_EQ(stored.payload_bytes(), header.PayloadBytes(&spec_));
    EXPECT_EQ(*ShapeOf(stored, 4096), *ShapeOf(header, blob ? nullptr : &spec_, 4096));
    base::ObjectHeader other = header;
    ++other.base_position;
    EXPECT_NE(stored, other);
  }
}

TEST_F(StoredHeaderTest, BlocksAreCountedAsTheyAreCut) {
  EXPECT_EQ(stored_.Of(TestSegment(spec_, 1, 0, 33), &spec_).num_blocks(), 3u) << "pages";
  const base::ObjectHeader chunk = TestSegment(spec_, 1, 0, 8);
  EXPECT_EQ(stored_.Of(TestCheckpoint(spec_, chunk, 8), &spec_, 0, 0, 352).num_blocks(), 3u);
  EXPECT_EQ(stored_.Of(TestFirstLog(spec_, 2, 10), &spec_, 0, 0, 120).num_blocks(), 13u)
      << "10 tokens, and 288 bytes of tails";
  EXPECT_EQ(stored_.Of(TestBlob(1, 1001), nullptr, 0, 0, 1000).num_blocks(), 2u);
}

TEST_F(StoredHeaderTest, AFormIsSharedAndGoesWithItsLastHeader) {
  FormTable& forms = stored_.forms;
  const ObjectForm* form = stored_.Of(TestSegment(spec_, 1, 0, 8), &spec_).form();
  EXPECT_EQ(stored_.Of(TestSegment(spec_, 2, 1, 9), &spec_).form(), form);
  base::ObjectHeader foreign = TestSegment(spec_, 2, 1, 9);
  foreign.tenant = 5;
  const ObjectForm* other = stored_.Of(foreign, &spec_).form();
  EXPECT_NE(other, form);
  EXPECT_EQ(forms.size(), 2u);
  forms.Give(form);
  forms.Give(other);
  EXPECT_EQ(forms.size(), 1u);
  EXPECT_EQ(form->model, spec_.Fingerprint());
  forms.Give(form);
  EXPECT_EQ(forms.size(), 0u);
  EXPECT_EQ(forms.words().arrays(), 0u) << "each header has given its words back";
}

}  // namespace
}  // namespace cistern::storage
