// Handles that follow each other and handles that do not.
#include "storage/pool/handle_list.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cistern::storage {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

std::vector<Handle> Of(const HandleList& list) { return {list.begin(), list.end()}; }

TEST(HandleList, KeepsWhatItIsGivenInOrder) {
  constexpr Handle kLast = std::numeric_limits<Handle>::max();
  for (const std::vector<Handle>& handles : {std::vector<Handle>{},
                                             {7},
                                             {7, 8, 9},
                                             {9, 8, 7},
                                             {7, 7},
                                             {7, 9},
                                             {kLast - 1, kLast},
                                             {kLast, 1},
                                             {1, 2, 4, 5}}) {
    HandleList list;
    list.Assign(handles);
    EXPECT_THAT(Of(list), ElementsAreArray(handles));
    EXPECT_EQ(list.size(), handles.size());
    EXPECT_EQ(list.empty(), handles.empty());
    list.clear();
    EXPECT_THAT(Of(list), ElementsAre());
  }
}

TEST(HandleList, ABlockThatMovesBreaksARunAndMayMakeOneAgain) {
  HandleList list;
  list.Assign(std::vector<Handle>{4, 5, 6});
  list.Replace(5, 20);
  EXPECT_THAT(Of(list), ElementsAre(4, 20, 6));
  EXPECT_EQ(list[1], 20u);
  list.Replace(20, 5);
  EXPECT_THAT(Of(list), ElementsAre(4, 5, 6));
  list.Assign(std::vector<Handle>{3, 1});
  EXPECT_THAT(Of(list), ElementsAre(3, 1)) << "what was there before is gone";
}

}  // namespace
}  // namespace cistern::storage
