// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/owned.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::HasSubstr;
using testing::IsEmpty;

class OwnedFileTest : public testing::Test {
  protected:
    void write(const std::string &text) { std::ofstream(path) << text; }
    nlohmann::json read() {
        std::ifstream file(path);
        return nlohmann::json::parse(file, nullptr, false);
    }

    Folder folder;
    std::string path = folder.path("owned.json");
};

TEST_F(OwnedFileTest, that_is_not_there_is_empty) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    EXPECT_THAT(file.taps(), IsEmpty());
}

TEST_F(OwnedFileTest, keeps_what_is_set_for_the_next_reader) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    ASSERT_TRUE(file.set_tap("vm2", 8));
    ASSERT_TRUE(file.set_tap("vm1", 9));
    ASSERT_TRUE(file.forget_tap("vm2"));
    OwnedFile next(path);
    ASSERT_TRUE(next.load_once());
    EXPECT_EQ(next.tap("vm1"), 9);
    EXPECT_EQ(next.tap("vm2"), std::nullopt);
}

TEST_F(OwnedFileTest, is_readable_by_root_alone) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(OwnedFileTest, takes_names_that_need_quoting) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.set_tap("a\"\\\xc3\xa4", 7));
    OwnedFile next(path);
    ASSERT_TRUE(next.load_once());
    EXPECT_EQ(next.tap("a\"\\\xc3\xa4"), 7);
}

TEST_F(OwnedFileTest, of_an_earlier_boot_says_nothing_of_this_one) {
    write(R"({"version": 1, "boot_id": "earlier", "taps": {"vm1": 7}})");
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    EXPECT_THAT(file.taps(), IsEmpty());
}

TEST_F(OwnedFileTest, is_replaced_as_a_whole_whatever_an_interrupted_writer_left) {
    std::ofstream(path + ".new") << "half of an ol";
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    EXPECT_EQ(read()["taps"]["vm1"], 7);
}

TEST_F(OwnedFileTest, that_cannot_be_written_stays_as_it_was) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    std::filesystem::create_directory(path + ".new");
    const auto set = file.set_tap("vm2", 8);
    ASSERT_FALSE(set);
    EXPECT_EQ(set.error().reason, Reason::record_failed);
    EXPECT_THAT(set.error().detail, HasSubstr(path));
    EXPECT_FALSE(file.forget_tap("vm1"));
    EXPECT_EQ(file.tap("vm1"), 7);
    EXPECT_EQ(file.tap("vm2"), std::nullopt);
    EXPECT_EQ(read()["taps"].size(), 1U);
}

TEST_F(OwnedFileTest, is_not_written_to_forget_what_is_not_in_it) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.forget_tap("vm1"));
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(OwnedFileTest, is_read_anew_when_asked_to) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    OwnedFile other(path);
    ASSERT_TRUE(other.load_once());
    ASSERT_TRUE(other.set_tap("vm1", 7));
    ASSERT_TRUE(file.load_once());
    EXPECT_EQ(file.tap("vm1"), std::nullopt);
    ASSERT_TRUE(file.load());
    EXPECT_EQ(file.tap("vm1"), 7);
}

class CorruptOwnedFile : public OwnedFileTest, public testing::WithParamInterface<const char *> {};

TEST_P(CorruptOwnedFile, is_an_error_until_it_is_repaired) {
    write(GetParam());
    OwnedFile file(path);
    const auto loaded = file.load_once();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().reason, Reason::record_failed);
    EXPECT_THAT(loaded.error().detail, HasSubstr(path));
    EXPECT_THAT(file.taps(), IsEmpty());
    EXPECT_FALSE(file.load_once());
    std::filesystem::remove(path);
    EXPECT_TRUE(file.load_once());
}

INSTANTIATE_TEST_SUITE_P(
    Contents, CorruptOwnedFile,
    testing::Values("", "garbage", "[]", "{}", R"({"version": 1, "boot_id": "x", "taps": [)",
                    R"({"version": 2, "boot_id": "x", "taps": {}})",
                    R"({"version": 1, "boot_id": 7, "taps": {}})",
                    R"({"version": 1, "boot_id": "x"})",
                    R"({"version": 1, "boot_id": "x", "taps": []})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": "7"}})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": 0}})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": 2147483648}})"));

TEST_F(OwnedFileTest, that_is_a_folder_is_an_error) {
    std::filesystem::create_directory(path);
    EXPECT_EQ(OwnedFile(path).load_once().error().reason, Reason::record_failed);
}

}  // namespace
}  // namespace vdpa::agent::host
