// SPDX-License-Identifier: Apache-2.0
#include "engine/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/unit/engine/temporary_folder.hpp"

namespace vdpa::engine {
namespace {

std::string text_of(const std::string &path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

TEST(Log, LinesHaveTheFormOfVlog) {
    const test::TemporaryFolder folder;
    ASSERT_TRUE(log::open_file(folder / "log").has_value());
    VDPA_LOG(warn, "module", "message %d", 7);
    EXPECT_THAT(text_of(folder / "log"),
                testing::ContainsRegex("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                                       "\\.[0-9]{3}Z\\|[0-9]{5}\\|module\\|WARN\\|message 7\n$"));
}

TEST(Log, APeersTextCannotMakeALineOfItsOwn) {
    const test::TemporaryFolder folder;
    ASSERT_TRUE(log::open_file(folder / "log").has_value());
    VDPA_LOG(info, "module", "%s", "name\n2026|00001|fake|ERR|line");
    const std::string text = text_of(folder / "log");
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST(Log, LinesBelowTheLevelAreNotWritten) {
    const test::TemporaryFolder folder;
    ASSERT_TRUE(log::open_file(folder / "log").has_value());
    VDPA_LOG(dbg, "module", "not to be seen");
    EXPECT_EQ(text_of(folder / "log"), "");
}

TEST(Log, AfterRotationLinesGoToTheNewFile) {
    const test::TemporaryFolder folder;
    ASSERT_TRUE(log::open_file(folder / "log").has_value());
    std::filesystem::rename(folder / "log", folder / "log.1");
    log::reopen_file();
    VDPA_LOG(info, "module", "after");
    EXPECT_THAT(text_of(folder / "log"), testing::HasSubstr("after"));
    EXPECT_EQ(text_of(folder / "log.1"), "");
}

TEST(Log, AFileThatCannotBeOpenedIsAnError) {
    const test::TemporaryFolder folder;
    EXPECT_FALSE(log::open_file(folder / "no/log").has_value());
}

TEST(RateLimit, LetsABurstThroughAndCountsTheRest) {
    log::RateLimit limit;
    uint64_t dropped = 0;
    int passed = 0;
    for (int i = 0; i < 1000; ++i) {
        passed += limit.allow(dropped) ? 1 : 0;
    }
    EXPECT_GE(passed, 1);
    EXPECT_LE(passed, 20);
    EXPECT_EQ(dropped, 0U) << "the count comes with the next message that passes";
}

}  // namespace
}  // namespace vdpa::engine
