// SPDX-License-Identifier: Apache-2.0
#include "schema/support/json_lines.hpp"

#include <gmock/gmock.h>

#include <vector>

namespace vdpa {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Collector {
    std::vector<std::string> lines;
    void operator()(std::string_view line) { lines.emplace_back(line); }
};

TEST(LineFramer, CutsSeveralLinesOutOfOneRead) {
    LineFramer framer(100);
    Collector got;
    EXPECT_TRUE(framer.feed("one\ntwo\n", std::ref(got)));
    EXPECT_THAT(got.lines, ElementsAre("one", "two"));
}

TEST(LineFramer, JoinsALineThatComesByteByByte) {
    LineFramer framer(100);
    Collector got;
    for (const char c : std::string("one\n")) {
        EXPECT_TRUE(framer.feed(std::string_view(&c, 1), std::ref(got)));
    }
    EXPECT_THAT(got.lines, ElementsAre("one"));
}

TEST(LineFramer, PassesOverEmptyLines) {
    LineFramer framer(100);
    Collector got;
    EXPECT_TRUE(framer.feed("\n\none\n\n", std::ref(got)));
    EXPECT_THAT(got.lines, ElementsAre("one"));
}

TEST(LineFramer, TakesALineOfExactlyTheLimit) {
    LineFramer framer(4);
    Collector got;
    EXPECT_TRUE(framer.feed("four\n", std::ref(got)));
    EXPECT_THAT(got.lines, ElementsAre("four"));
}

TEST(LineFramer, RefusesALongerLineAndAllThatFollows) {
    LineFramer framer(4);
    Collector got;
    EXPECT_FALSE(framer.feed("fives\n", std::ref(got)));
    EXPECT_FALSE(framer.feed("ok\n", std::ref(got)));
    EXPECT_THAT(got.lines, IsEmpty());
}

TEST(LineFramer, KeepsNoMoreThanTheLimitOfALineWithoutEnd) {
    LineFramer framer(1000);
    Collector got;
    const std::string chunk(400, 'x');
    bool usable = true;
    for (int i = 0; i < 10; i++) {
        usable = framer.feed(chunk, std::ref(got));
        EXPECT_LE(framer.pending(), 1000U);
    }
    EXPECT_FALSE(usable);
}

}  // namespace
}  // namespace vdpa
