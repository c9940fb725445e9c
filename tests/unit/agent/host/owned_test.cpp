// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/owned.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

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

TEST_F(OwnedFileTest, tells_a_netdev_that_was_ready_from_one_that_was_not) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load_once());
    ASSERT_TRUE(file.begin_tap("vm1", 7));
    EXPECT_FALSE(file.has_finished_tap("vm1"));
    OwnedFile next(path);
    ASSERT_TRUE(next.load_once());
    EXPECT_EQ(next.tap("vm1"), 7);
    EXPECT_FALSE(next.has_finished_tap("vm1"));
    ASSERT_TRUE(next.set_tap("vm1", 7));
    ASSERT_TRUE(file.load());
    EXPECT_TRUE(file.has_finished_tap("vm1"));
    ASSERT_TRUE(file.begin_tap("vm1", 8));
    EXPECT_EQ(file.tap("vm1"), 8);
    EXPECT_TRUE(file.has_finished_tap("vm1")) << "it may have been open in the switch";
    ASSERT_TRUE(file.forget_tap("vm1"));
    EXPECT_EQ(file.get(), Owned{});
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

TEST_F(OwnedFileTest, takes_the_longest_name_that_a_port_may_have) {
    const std::string longest(255, 'x');
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    ASSERT_TRUE(file.change([&](Owned &owned) {
        owned.vdpa[longest] = {.management = "vdpasim_net"};
        owned.representors[longest].port.function.pf = {"pci", "0000:43:00.0"};
    }));
    OwnedFile again(path);
    const auto loaded = again.load();
    ASSERT_TRUE(loaded) << loaded.error().detail;
    EXPECT_TRUE(again.vdpa(longest));
    EXPECT_TRUE(again.representor(longest));
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
    // One that cannot be appended to either, as it is not as it was left.
    std::ofstream(path, std::ios::app) << " ";
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
                    R"({"version": 3, "boot_id": "x", "taps": {}})",
                    R"({"version": 0, "boot_id": "x", "taps": {}})",
                    R"({"version": 1, "boot_id": 7, "taps": {}})",
                    R"({"version": 1, "boot_id": "x"})",
                    R"({"version": 1, "boot_id": "x", "taps": []})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": "7"}})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": 0}})",
                    R"({"version": 1, "boot_id": "x", "taps": {"vm1": 2147483648}})"));

std::string with_section(const std::string &text) {
    return R"({"version": 2, "boot_id": "x", "taps": {}, )" + text + "}";
}

class CorruptSection : public CorruptOwnedFile {};

TEST_P(CorruptSection, is_an_error_that_names_the_field) {
    write(with_section(GetParam()));
    const auto loaded = OwnedFile(path).load();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().reason, Reason::record_failed);
    EXPECT_THAT(loaded.error().detail, HasSubstr(path + "."));
}

constexpr char representor_without_number[] =
    R"("representors": {"vm1": {"pf": "pci/0000:43:00.0", "flavour": "vf", "ifindex": 7,
       "old_name": "eth0", "mac_set": true, "has_function_mac": true, "pf_netdev": "",)";

INSTANTIATE_TEST_SUITE_P(Contents, CorruptSection,
                         testing::Values(R"("representors": [])", R"("representors": {"vm1": 7})",
                                         R"("representors": {"vm1": {}})",
                                         R"("representors": {"": {}})",
                                         R"("unbound": {"pci/0000:43:00.2": 7})",
                                         R"("unbound": {"pci/0000:43:00.2": ""})",
                                         R"("unbound": {"0000:43:00.2": "mlx5_core"})",
                                         R"("unbound": {"/0000:43:00.2": "mlx5_core"})",
                                         R"("unbound": {"pci/": "mlx5_core"})",
                                         R"("vdpa": {"vm1": {"management": 1}})",
                                         R"("vdpa": {"vm1": {"management": "m", "mac": "",
                                             "max_pairs": 65536}})",
                                         R"("pfs": {"pci/0000:43:00.0": {"num_vfs": -1}})",
                                         R"("pfs": {"pci/0000:43:00.0": {"was_legacy": true,
                                             "made_vfs": "8"}})"));

TEST_F(OwnedFileTest, refuses_numbers_of_functions_that_are_out_of_range) {
    for (const char *rest :
         {R"("number": -1}})", R"("number": 4294967296}})", R"("number": "0"}})",
          R"("number": 0, "pf_number": 65536}})", R"("number": 0, "controller": 4294967296}})",
          R"("number": 0, "devlink": "pci"}})"}) {
        write(with_section(std::string(representor_without_number) + rest));
        EXPECT_FALSE(OwnedFile(path).load()) << rest;
    }
    write(with_section(std::string(representor_without_number) + R"("number": 0}})"));
    EXPECT_TRUE(OwnedFile(path).load());
}

TEST_F(OwnedFileTest, has_the_name_alone_of_a_pf_netdev_that_an_earlier_agent_recorded) {
    const char *entry =
        R"("representors": {"vm1": {"pf": "pci/0000:43:00.0", "flavour": "vf", "number": 1,
           "ifindex": 7, "old_name": "eth0", "mac_set": true, "has_function_mac": false,
           "pf_netdev": "p0")";
    const auto read = [&](const std::string &rest) {
        const auto record = read_owned(with_section(entry + rest + "}}"), "", "x", path);
        EXPECT_TRUE(record) << rest;
        return record ? record->owned.representors.at("vm1").port : FunctionPort{};
    };
    EXPECT_EQ(read("").pf_netdev, "p0");
    EXPECT_EQ(read("").pf_ifindex, 0);
    EXPECT_EQ(read(R"(, "pf_ifindex": 3)").pf_ifindex, 3);
}

TEST_F(OwnedFileTest, refuses_a_file_that_is_too_large) {
    write(with_section(R"("later": ")" + std::string(size_t{17} << 20U, 'x') + '"'));
    const auto loaded = OwnedFile(path).load();
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().detail, HasSubstr("too large"));
}

TEST_F(OwnedFileTest, keeps_everything_that_is_recorded) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    const auto fill = [](Owned &owned) {
        owned.taps["vm0"] = 5;
        owned.unfinished_taps["vm0"] = 5;
        owned.representors["vm1"] = {.port = {.function = {.pf = {"pci", "0000:43:00.0"},
                                                           .controller = 1,
                                                           .pf_number = 1,
                                                           .flavour = Flavour::sf,
                                                           .number = 88},
                                              .devlink = {"pci", "0000:43:00.1"},
                                              .devlink_port = 32768,
                                              .has_function_mac = true,
                                              .pf_netdev = "enp67s0f0np0",
                                              .pf_ifindex = 3},
                                     .ifindex = 7,
                                     .old_name = "enp67s0f0npf0sf88",
                                     .row_before = "vm9",
                                     .mac_set = true};
        owned.representors["vm2"].port.function.pf = {"netdevsim", "netdevsim10"};
        owned.unbound[{"pci", "0000:43:00.2"}] = "mlx5_core";
        owned.vdpa["vm3"] = {.management = "pci/0000:43:00.3",
                             .mac = "02:00:00:00:00:01",
                             .mtu = 9000,
                             .max_pairs = 4};
        owned.vdpa["vm4"] = {.management = "vdpasim_net"};
        owned.pfs[{"pci", "0000:43:00.0"}] = {.num_vfs = 0, .was_legacy = true, .made_vfs = 8};
        owned.pfs[{"pci", "0000:43:00.1"}] = {};
    };
    ASSERT_TRUE(file.change(fill));
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    Owned wanted;
    fill(wanted);
    EXPECT_EQ(next.get(), wanted);
    EXPECT_EQ(next.representor("vm1"), wanted.representors["vm1"]);
    EXPECT_EQ(next.representor("vm3"), std::nullopt);
    EXPECT_EQ(next.vdpa("vm4"), wanted.vdpa["vm4"]);
}

TEST_F(OwnedFileTest, of_an_older_agent_keeps_its_netdevs) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    auto older = read();
    ASSERT_EQ(older["version"], 2);
    older = {{"version", 1}, {"boot_id", older["boot_id"]}, {"taps", older["taps"]}};
    write(older.dump());
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    EXPECT_EQ(next.tap("vm1"), 7);
    ASSERT_TRUE(next.set_tap("vm2", 8));
    EXPECT_EQ(read()["version"], 2);
    EXPECT_EQ(read()["taps"].size(), 2U);
}

TEST_F(OwnedFileTest, is_not_written_when_nothing_is_changed) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    std::filesystem::remove(path);
    ASSERT_TRUE(file.set_tap("vm1", 7));
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(OwnedFileTest, is_not_written_over_what_could_not_be_read) {
    write("garbage");
    OwnedFile file(path);
    ASSERT_FALSE(file.load());
    EXPECT_EQ(file.set_tap("vm1", 7).error().reason, Reason::record_failed);
    std::ifstream text(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(text), {}), "garbage");
}

TEST_F(OwnedFileTest, that_cannot_be_read_any_more_still_says_what_is_to_be_undone) {
    OwnedFile file(path);
    ASSERT_TRUE(file.load());
    ASSERT_TRUE(file.set_tap("vm1", 7));
    std::filesystem::copy_file(path, path + ".good");
    write("garbage");
    EXPECT_FALSE(file.load());
    EXPECT_EQ(file.tap("vm1"), 7) << "others may be in the middle of a release";
    EXPECT_EQ(file.forget_tap("vm1").error().reason, Reason::record_failed);
    std::filesystem::rename(path + ".good", path);
    ASSERT_TRUE(file.load());
    EXPECT_TRUE(file.forget_tap("vm1"));
    EXPECT_EQ(file.tap("vm1"), std::nullopt);
}

TEST_F(OwnedFileTest, loses_nothing_that_several_threads_record_at_once) {
    const OwnedFile file(path);
    ASSERT_TRUE(OwnedFile(file).load());
    constexpr int threads = 4;
    constexpr int each = 50;
    std::vector<std::thread> running;
    running.reserve(threads);
    for (int thread = 0; thread < threads; thread++) {
        running.emplace_back([thread, copy = file]() mutable {
            for (int i = 0; i < each; i++) {
                const std::string name = std::to_string(thread) + "-" + std::to_string(i);
                EXPECT_TRUE(copy.change([&](Owned &owned) { owned.vdpa[name].management = name; }));
                EXPECT_TRUE(copy.vdpa(name));
            }
        });
    }
    for (std::thread &thread : running) {
        thread.join();
    }
    OwnedFile next(path);
    ASSERT_TRUE(next.load());
    EXPECT_EQ(next.get().vdpa.size(), size_t{threads * each});
}

TEST_F(OwnedFileTest, that_is_a_folder_is_an_error) {
    std::filesystem::create_directory(path);
    EXPECT_EQ(OwnedFile(path).load_once().error().reason, Reason::record_failed);
}

}  // namespace
}  // namespace vdpa::agent::host
