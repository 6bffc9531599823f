// The index: variants of a content, objects at a context, children of a context, with links.
#include "storage/index/content_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/index/object_table.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"
#include "tests/unit/storage/stored_fixture.h"

namespace cistern::storage {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

class ContentIndexTest : public testing::Test {
 protected:
  Object* Make(uint64_t id, uint32_t text, uint32_t past) {
    return Make(id, TestSegment(model_, text, past, 8));
  }
  Object* Make(uint64_t id, const base::ObjectHeader& header) {
    Object* const object = objects_.Add(id);
    object->header = stored_.Of(header, &model_);
    index_.Insert(object);
    return object;
  }
  // Links among them.
  std::vector<uint64_t> ChildIds(const base::Key& parent) const {
    std::vector<uint64_t> ids;
    index_.ForEachChild(parent, [&](const ContextEntry& entry) {
      ids.push_back(entry.object->id);
      return true;
    });
    return ids;
  }

  base::ModelSpec model_ = TestModel("m", 2, 64);
  StoredHeaders stored_;
  ObjectTable objects_;
  ContentIndex index_{objects_.slots()};
};

TEST_F(ContentIndexTest, OneContentHasSeveralContexts) {
  Object* a = Make(1, 7, 1);
  Object* b = Make(2, 7, 2);
  Make(3, 8, 1);
  EXPECT_THAT(index_.VariantsOf(a->header.content), ElementsAre(a, b));
  EXPECT_EQ(index_.Exact(a->header.content, b->header.context), b);
  EXPECT_EQ(index_.Exact(a->header.content, base::Key{1, 2}), nullptr);
  EXPECT_THAT(index_.VariantsOf(base::Key{1, 2}), ElementsAre());
  EXPECT_THAT(index_.EndingAt(a->header.context), ElementsAre(a));
}

// Whichever place of its lists an object has when it goes.
TEST_F(ContentIndexTest, ListsCloseBehindWhatGoes) {
  std::vector<Object*> same;
  for (uint64_t id = 1; id <= 4; ++id) {
    same.push_back(Make(id, 7, 1));  // the same in every respect
  }
  const StoredHeader& header = same[0]->header;
  std::vector<Object*> left = same;
  for (const size_t gone : {1, 3, 0, 2}) {
    std::vector<Object*> newest_first(left.rbegin(), left.rend());
    EXPECT_THAT(index_.VariantsOf(header.content), ElementsAreArray(left));
    EXPECT_THAT(index_.EndingAt(header.context), ElementsAreArray(newest_first));
    EXPECT_THAT(index_.ChildrenOf(header.parent_context), ElementsAreArray(newest_first));
    index_.Remove(same[gone]);
    std::erase(left, same[gone]);
  }
  EXPECT_THAT(index_.ChildrenOf(header.parent_context), ElementsAre());
  EXPECT_EQ(index_.num_objects() + index_.num_context_entries() + index_.num_children(), 0u);
}

TEST_F(ContentIndexTest, ChildrenComeNewestFirstLinksAmongThem) {
  Object* a = Make(1, 1, 5);
  Object* b = Make(2, 2, 5);
  Object* elsewhere = Make(3, 3, 6);
  index_.AddLink(elsewhere,
                 {.context = {9, 9}, .parent_context = a->header.parent_context, .sequence = 4});
  Object* c = Make(5, 4, 5);
  EXPECT_THAT(ChildIds(a->header.parent_context), ElementsAre(c->id, elsewhere->id, b->id, a->id));
  EXPECT_THAT(index_.ChildrenOf(a->header.parent_context), ElementsAre(c, b, a));
  EXPECT_THAT(index_.ChildrenOf(base::Key{1, 1}), ElementsAre());
}

TEST_F(ContentIndexTest, TheNewestLinkAnswers) {
  const base::Key context{4, 4};
  Object* a = Make(1, 1, 1);
  Object* b = Make(2, 1, 2);
  EXPECT_EQ(index_.Linked(a->header.content, context), nullptr);
  index_.AddLink(a, {.context = context, .sequence = 3});
  index_.AddLink(b, {.context = context, .sequence = 4});
  EXPECT_EQ(index_.Linked(a->header.content, context), b);
  EXPECT_EQ(index_.Linked(base::Key{5, 5}, context), nullptr) << "a context belongs to one content";
  index_.RemoveLink(b, 0);
  EXPECT_EQ(index_.Linked(a->header.content, context), a);
  EXPECT_EQ(index_.num_links(), 1u);
}

TEST_F(ContentIndexTest, RemovalLeavesNothing) {
  Object* a = Make(1, 1, 1);
  index_.AddLink(a, {.context = {4, 4}, .parent_context = {5, 5}, .sequence = 2});
  index_.AddLink(a, {.context = {6, 6}, .sequence = 3});
  EXPECT_EQ(index_.num_context_entries(), 3u);
  EXPECT_EQ(index_.num_children(), 2u);
  index_.Remove(a);
  EXPECT_THAT(index_.VariantsOf(a->header.content), ElementsAre());
  EXPECT_THAT(index_.LinkedTo({4, 4}), ElementsAre());
  EXPECT_THAT(ChildIds({5, 5}), ElementsAre());
  EXPECT_EQ(index_.num_objects() + index_.num_links() + index_.num_context_entries() +
                index_.num_children(),
            0u);
}

TEST_F(ContentIndexTest, BlobsHaveAContentOnly) {
  Object& blob = *objects_.Add(1);
  blob.header = stored_.Of(TestBlob(3, 100));
  index_.Insert(&blob);
  EXPECT_EQ(index_.Exact(blob.header.content, base::Key{}), &blob);
  EXPECT_THAT(index_.EndingAt(base::Key{}), ElementsAre());
  EXPECT_THAT(index_.ChildrenOf(base::Key{}), ElementsAre());
  index_.Remove(&blob);
  EXPECT_EQ(index_.num_objects(), 0u);
}

// State beside segments of the same contexts.
TEST_F(ContentIndexTest, StatesHaveListsOfTheirOwn) {
  const base::ObjectHeader chunk = TestSegment(model_, 7, 1, 8);
  Object* const rows = Make(1, chunk);
  Object* const state = Make(2, TestCheckpoint(model_, chunk, 8));
  Object* const log = Make(3, TestLog(model_, state->header.Full(), 5, 4));
  Object* const earlier = Make(4, TestCheckpoint(model_, chunk, 4));
  EXPECT_THAT(index_.EndingAt(chunk.context), ElementsAre(rows));
  EXPECT_THAT(index_.StatesAt(chunk.context), ElementsAre(state));
  EXPECT_THAT(index_.StatesAt(log->header.context), ElementsAre(log));
  EXPECT_THAT(index_.ChildrenOf(chunk.parent_context), ElementsAre(rows));
  EXPECT_THAT(ChildIds(chunk.parent_context), ElementsAre(1));
  EXPECT_THAT(index_.CheckpointsFrom(chunk.parent_context), ElementsAre(earlier, state));
  EXPECT_THAT(index_.LogsFrom(chunk.context), ElementsAre(log));
  EXPECT_THAT(index_.LogsFrom(chunk.parent_context), ElementsAre());
  index_.Remove(state);
  index_.Remove(rows);
  EXPECT_THAT(index_.CheckpointsFrom(chunk.parent_context), ElementsAre(earlier));
  EXPECT_THAT(index_.StatesAt(chunk.context), ElementsAre());
  EXPECT_THAT(index_.LogsFrom(chunk.context), ElementsAre(log)) << "whether it stands is not asked";
}

// What goes leaves its successors to what it was computed from, however long ago that was.
TEST_F(ContentIndexTest, SuccessorsAreInherited) {
  const base::ObjectHeader chunk = TestSegment(model_, 7, 1, 40);
  Object* const first = Make(1, TestCheckpoint(model_, chunk, 8));
  Object* const log = Make(2, TestLog(model_, first->header.Full(), 5, 4));
  Object* const folded = Make(3, TestCheckpoint(model_, chunk, 20, log->header.context));
  Object* const branch = Make(4, TestCheckpoint(model_, chunk, 30, first->header.context));
  Object* const last = Make(5, TestCheckpoint(model_, chunk, 40, folded->header.context));
  EXPECT_EQ(index_.CountSuccessors(first->header.context), 1u);
  EXPECT_EQ(index_.CountSuccessors(log->header.context), 1u);
  EXPECT_EQ(index_.OriginOf(*log), first->header.context);
  EXPECT_EQ(index_.OriginOf(*last), folded->header.context);
  EXPECT_TRUE(index_.OriginOf(*first).IsZero());
  index_.Remove(log);
  EXPECT_EQ(index_.CountSuccessors(first->header.context), 2u);
  EXPECT_EQ(index_.OriginOf(*folded), first->header.context);
  index_.Remove(folded);
  EXPECT_EQ(index_.CountSuccessors(first->header.context), 2u) << "the last one and the branch";
  EXPECT_EQ(index_.OriginOf(*last), first->header.context);
  index_.Remove(branch);
  EXPECT_EQ(index_.CountSuccessors(first->header.context), 1u);
  index_.Remove(first);
  EXPECT_TRUE(index_.OriginOf(*last).IsZero()) << "nothing is left before it";
  index_.Remove(last);
  EXPECT_EQ(index_.num_objects(), 0u);
}

// Two states at one context: it is left only when both have gone.
TEST_F(ContentIndexTest, SuccessorsStayWithTheOtherStateOfTheirContext) {
  const base::ObjectHeader chunk = TestSegment(model_, 7, 0, 8);
  base::ObjectHeader twin = TestFirstLog(model_, 7, 8);
  twin.context = chunk.context;
  Object* const state = Make(1, TestCheckpoint(model_, chunk, 8));
  Object* const log = Make(2, twin);
  Object* const next =
      Make(3, TestCheckpoint(model_, TestSegment(model_, 9, 1, 8), 8, chunk.context));
  index_.Remove(state);
  EXPECT_EQ(index_.CountSuccessors(chunk.context), 1u);
  EXPECT_EQ(index_.OriginOf(*next), chunk.context);
  index_.Remove(log);
  EXPECT_EQ(index_.CountSuccessors(chunk.context), 0u);
  EXPECT_EQ(index_.OriginOf(*next), twin.parent_context);
}

}  // namespace
}  // namespace cistern::storage
