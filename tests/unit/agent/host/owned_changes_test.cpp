// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::HasSubstr;

/* A record that is longer than most. */
class LongOwnedFile : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(file.load());
        ASSERT_TRUE(file.change([](Owned &owned) {
            for (int i = 0; i < 100; i++) {
                owned.vdpa["vm" + std::to_string(i)].management = "pci/0000:43:00.2";
            }
        }));
        ASSERT_FALSE(std::filesystem::exists(changes));
    }
    std::string text(const std::string &of) {
        std::ifstream stream(of);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    Owned read_back() {
        OwnedFile next(path);
        const auto loaded = next.load();
        EXPECT_TRUE(loaded) << loaded.error().detail;
        return next.get();
    }

    Folder folder;
    const std::string path = folder.path("owned.json");
    OwnedFile file{path};
    const std::string changes = path + ".changes";
};

TEST_F(LongOwnedFile, has_its_changes_appended) {
    const std::string whole = text(path);
    ASSERT_TRUE(file.set_tap("vm7", 7));
    ASSERT_TRUE(file.change([](Owned &owned) {
        owned.vdpa.erase("vm1");
        owned.vdpa["vm2"].mtu = 9000;
        owned.unbound[{"pci", "0000:43:00.2"}] = "mlx5_core";
        owned.pfs[{"pci", "0000:43:00.0"}].num_vfs = 0;
        owned.representors["vm3"].port.function.pf = {"pci", "0000:43:00.0"};
    }));
    ASSERT_TRUE(file.change([](Owned &owned) { owned.unbound.clear(); }));
    EXPECT_EQ(text(path), whole);
    EXPECT_EQ(read_back(), file.get());
    EXPECT_EQ(std::filesystem::status(changes).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    ASSERT_TRUE(next.set_tap("vm8", 8));
    EXPECT_EQ(text(path), whole) << "the next agent goes on in the same way";
    EXPECT_EQ(read_back().taps.size(), 2U);
}

TEST_F(LongOwnedFile, is_written_whole_when_its_changes_have_become_as_long) {
    const std::string whole = text(path);
    int writes = 0;
    for (; text(path) == whole && writes < 1000; writes++) {
        ASSERT_TRUE(file.set_tap("vm7", 7 + writes));
        ASSERT_EQ(read_back(), file.get());
    }
    EXPECT_GT(writes, 50);
    EXPECT_LT(writes, 1000);
    EXPECT_FALSE(std::filesystem::exists(changes));
}

TEST_F(LongOwnedFile, does_not_mind_changes_that_it_contains_already) {
    ASSERT_TRUE(file.set_tap("vm7", 7));
    const std::string old = text(changes);
    while (std::filesystem::exists(changes)) {
        ASSERT_TRUE(file.set_tap("vm7", file.tap("vm7").value_or(0) + 1));
    }
    // As if a crash had come before they were deleted.
    std::ofstream(changes) << old;
    EXPECT_EQ(read_back(), file.get());
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    ASSERT_TRUE(next.forget_tap("vm7"));
    EXPECT_EQ(read_back(), next.get());
}

TEST_F(LongOwnedFile, whose_writer_was_interrupted_has_what_was_written_before) {
    ASSERT_TRUE(file.set_tap("vm7", 7));
    const Owned before = file.get();
    const size_t size = text(changes).size();
    ASSERT_TRUE(file.set_tap("vm8", 8));
    for (auto left = std::filesystem::file_size(changes) - 1; left > size; left--) {
        std::filesystem::resize_file(changes, left);
        ASSERT_EQ(read_back(), before) << left;
    }
    std::filesystem::resize_file(changes, size + 3);
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    ASSERT_TRUE(next.set_tap("vm9", 9));
    EXPECT_EQ(read_back(), next.get());
    EXPECT_EQ(next.tap("vm9"), 9);
}

TEST_F(LongOwnedFile, of_an_earlier_boot_is_written_whole) {
    std::string earlier = text(path);
    const std::string key = R"("boot_id":")";
    earlier.insert(earlier.find(key) + key.size(), "x");
    for (const bool has_changes : {false, true}) {
        std::ofstream(path) << earlier;
        if (has_changes) {
            std::ofstream(changes) << write_changes_head(1) << "what a power failure left\n";
        }
        OwnedFile next(path);
        ASSERT_TRUE(next.load()) << has_changes;
        EXPECT_EQ(next.get(), Owned{});
        ASSERT_TRUE(next.set_tap("vm7", 7));
        EXPECT_EQ(read_back(), next.get());
        EXPECT_EQ(next.tap("vm7"), 7);
    }
}

TEST_F(LongOwnedFile, of_an_agent_that_knew_no_changes_is_written_whole) {
    std::string older = text(path);
    const size_t serial = older.find(R"("serial":)");
    older.erase(serial, older.find(',', serial) + 1 - serial);
    std::ofstream(path) << older;
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    EXPECT_EQ(next.get(), file.get());
    ASSERT_TRUE(next.set_tap("vm7", 7));
    EXPECT_FALSE(std::filesystem::exists(changes));
    EXPECT_EQ(read_back(), next.get());
}

TEST_F(LongOwnedFile, that_is_gone_leaves_no_changes_to_the_next) {
    ASSERT_TRUE(file.set_tap("vm7", 7));
    const std::string old = text(changes);
    std::filesystem::remove(path);
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    EXPECT_EQ(next.get(), Owned{});
    ASSERT_TRUE(next.set_tap("vm8", 8));
    // As if a crash had come before they were deleted.
    std::ofstream(changes) << old;
    EXPECT_EQ(read_back(), next.get());
}

TEST_F(LongOwnedFile, of_which_a_part_was_taken_away_is_written_whole) {
    for (const std::string &part : {changes, path}) {
        ASSERT_TRUE(file.set_tap("vm7", 7));
        ASSERT_TRUE(file.set_tap("vm8", 8));
        std::filesystem::remove(part);
        ASSERT_TRUE(file.forget_tap("vm7"));
        EXPECT_EQ(read_back(), file.get()) << part;
        EXPECT_EQ(read_back().vdpa.size(), 100U) << part;
        ASSERT_TRUE(file.forget_tap("vm8"));
    }
}

TEST_F(LongOwnedFile, that_cannot_be_appended_to_stays_as_it_was) {
    std::filesystem::create_directory(changes);
    const Owned before = file.get();
    EXPECT_EQ(file.set_tap("vm7", 7).error().reason, Reason::record_failed);
    EXPECT_EQ(file.get(), before);
    std::filesystem::remove(changes);
    ASSERT_TRUE(file.set_tap("vm7", 7));
    EXPECT_EQ(read_back().taps.size(), 1U);
}

TEST_F(LongOwnedFile, with_changes_that_are_not_ours_is_an_error) {
    ASSERT_TRUE(file.set_tap("vm7", 7));
    const std::string good = text(changes);
    for (const char *line : {"garbage\n", "[]\n", "{\"taps\": 7}\n", "{\"serial\": {}}\n",
                             "{\"taps\": {\"vm1\": \"7\"}}\n"}) {
        std::ofstream(changes) << good << line;
        OwnedFile next(path);
        const auto loaded = next.load();
        ASSERT_FALSE(loaded) << line;
        EXPECT_EQ(loaded.error().reason, Reason::record_failed);
        EXPECT_THAT(loaded.error().detail, HasSubstr(path));
        EXPECT_FALSE(next.set_tap("vm9", 9));
    }
}

TEST_F(LongOwnedFile, costs_a_change_of_one_entry_what_that_entry_says) {
    const auto bytes_for = [this](int count) {
        size_t bytes = 0;
        for (int i = 0; i < count; i++) {
            const std::string whole = text(path);
            const size_t appended =
                std::filesystem::exists(changes) ? std::filesystem::file_size(changes) : 0;
            EXPECT_TRUE(file.change([&](Owned &owned) {
                owned.vdpa["new" + std::to_string(i)].management = "pci/0000:43:00.2";
            }));
            bytes += text(path) == whole ? std::filesystem::file_size(changes) - appended
                                         : std::filesystem::file_size(path);
        }
        return bytes / static_cast<size_t>(count);
    };
    EXPECT_LT(bytes_for(1000), 600U) << "bytes a change; the whole is 80 times as long";
}

TEST(ShortOwnedFile, is_written_whole_once_for_many_changes) {
    const Folder folder;
    const std::string path = folder.path("owned.json");
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    ASSERT_TRUE(file.set_tap("vm0", 1));
    const auto inode = [&path] {
        struct stat status {};
        EXPECT_EQ(::stat(path.c_str(), &status), 0);
        return status.st_ino;
    };
    int whole = 0;
    for (int i = 1; i <= 200; i++) {
        const auto before = inode();
        ASSERT_TRUE(file.begin_tap("vm" + std::to_string(i), i));
        ASSERT_TRUE(file.set_tap("vm" + std::to_string(i), i));
        whole += inode() == before ? 0 : 1;
    }
    EXPECT_LE(whole, 1);
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    EXPECT_EQ(next.get(), file.get());
    EXPECT_EQ(next.taps().size(), 201U);
}

}  // namespace
}  // namespace vdpa::agent::host
