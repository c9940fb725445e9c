// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_devices.hpp"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ovs-vdpa-agent/host/vdpa_kernel.hpp"
#include "ovs-vdpa-agent/host/vdpa_worker.hpp"
#include "tests/unit/agent/host/control_loop.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

/* Devices as the kernel has them, and their folders in sysfs. */
struct FakeState {
    std::string sysfs;
    std::map<std::string, VdpaSpec> devices;
    std::string driver = "vhost_vdpa";  // takes new devices; empty: none
    bool takes_mac = true;
    bool takes_mtu = true;
    bool takes_pairs = true;
    bool is_open = false;
    int open_error = 0;
    int error = 0;
    unsigned tries = 0;
    unsigned removals = 0;
    std::map<uint32_t, VdpaCounters> counters;

    std::string folder(const std::string &name) const {
        return sysfs + "/bus/vdpa/devices/" + name;
    }
};

class FakeVdpa : public VdpaKernel {
  public:
    explicit FakeVdpa(FakeState &state) : state_(state) {}

    NetResult<std::optional<std::string>> management(const std::string &name) override {
        if (state_.error != 0) {
            return refused(state_.error);
        }
        const auto found = state_.devices.find(name);
        return found == state_.devices.end() ? std::nullopt
                                             : std::optional(found->second.management);
    }
    NetResult<void> add(const VdpaSpec &spec) override {
        state_.tries++;
        if (spec.management != "vdpasim_net") {
            return refused(ENODEV);
        }
        if ((!spec.mac.empty() && !state_.takes_mac) || (spec.mtu && !state_.takes_mtu) ||
            (spec.max_pairs > 1 && !state_.takes_pairs)) {
            return refused(EOPNOTSUPP);
        }
        if (state_.devices.contains(spec.name)) {
            return refused(EEXIST);
        }
        make(spec);
        return {};
    }
    void make(const VdpaSpec &spec) {
        state_.devices[spec.name] = spec;
        const std::string folder = state_.folder(spec.name);
        std::filesystem::create_directories(folder);
        if (!state_.driver.empty()) {
            std::filesystem::create_symlink("../../drivers/" + state_.driver, folder + "/driver");
        }
        if (state_.driver == "vhost_vdpa") {
            std::filesystem::create_directory(folder + "/vhost-vdpa-7");
        }
    }
    NetResult<void> remove(const std::string &name) override {
        state_.removals++;
        std::filesystem::remove_all(state_.folder(name));
        return state_.devices.erase(name) == 1 ? NetResult<void>() : refused(ENODEV);
    }
    NetResult<VdpaCounters> counters(const std::string &name, uint32_t queue) override {
        if (!state_.devices.contains(name)) {
            return refused(ENODEV);
        }
        if (state_.counters.empty()) {
            return refused(EOPNOTSUPP);
        }
        const auto found = state_.counters.find(queue);
        return found == state_.counters.end() ? refused(EINVAL)
                                              : NetResult<VdpaCounters>(found->second);
    }
    NetResult<bool> is_open(const std::string &path) override {
        EXPECT_EQ(path, "/dev/vhost-vdpa-7");
        if (state_.open_error != 0) {
            return refused(state_.open_error);
        }
        return state_.is_open;
    }

  private:
    static tl::unexpected<NetlinkError> refused(int error) {
        return tl::make_unexpected(NetlinkError{error, std::strerror(error)});
    }
    FakeState &state_;
};

class VdpaDevicesTest : public testing::Test {
  protected:
    VdpaDevicesTest() {
        state.sysfs = folder.path("sys");
        for (const char *driver : {"vhost_vdpa", "virtio_vdpa"}) {
            std::filesystem::create_directories(drivers() + driver);
            for (const char *file : {"/bind", "/unbind"}) {
                const std::ofstream made(drivers() + driver + file);
            }
        }
    }
    std::string drivers() const { return state.sysfs + "/bus/vdpa/drivers/"; }
    VdpaDevices open() {
        return VdpaDevices(std::make_unique<FakeVdpa>(state), OwnedFile(folder.path("owned.json")),
                           state.sysfs);
    }
    static std::string read(const std::string &path) {
        std::string text;
        std::ifstream(path) >> text;
        return text;
    }

    Folder folder;
    FakeState state;
    VdpaSpec spec{.name = "vm1",
                  .management = "vdpasim_net",
                  .mac = "02:00:00:00:00:01",
                  .mtu = 9000,
                  .max_pairs = 4};
};

TEST_F(VdpaDevicesTest, are_made_as_asked_for_and_recorded) {
    const auto made = open().ensure(spec);
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_EQ(made->path, "/dev/vhost-vdpa-7");
    EXPECT_THAT(made->notes, IsEmpty());
    EXPECT_EQ(state.devices["vm1"], spec);
    EXPECT_THAT(*open().owned(), ElementsAre("vm1"));
}

TEST_F(VdpaDevicesTest, that_are_there_and_ours_are_left) {
    ASSERT_TRUE(open().ensure(spec));
    const auto again = open().ensure(spec);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->path, "/dev/vhost-vdpa-7");
    EXPECT_EQ(state.tries, 1U);
    EXPECT_EQ(state.removals, 0U);
}

TEST_F(VdpaDevicesTest, that_somebody_else_made_are_left_alone) {
    FakeVdpa(state).make(spec);
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::name_taken);
    ASSERT_TRUE(open().remove("vm1"));
    EXPECT_TRUE(state.devices.contains("vm1"));
}

TEST_F(VdpaDevicesTest, that_somebody_else_made_in_the_place_of_ours_are_left_alone) {
    ASSERT_TRUE(open().ensure(spec));
    state.devices["vm1"].management = "pci/0000:43:00.2";
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::name_taken);
    ASSERT_TRUE(open().remove("vm1"));
    EXPECT_TRUE(state.devices.contains("vm1"));
    EXPECT_THAT(*open().owned(), IsEmpty());
}

TEST_F(VdpaDevicesTest, that_were_deleted_by_hand_are_made_anew) {
    ASSERT_TRUE(open().ensure(spec));
    FakeVdpa(state).remove("vm1");
    ASSERT_TRUE(open().ensure(spec));
    EXPECT_EQ(state.devices["vm1"], spec);
}

TEST_F(VdpaDevicesTest, do_without_what_their_management_device_cannot_set) {
    state.takes_pairs = false;
    auto made = open().ensure(spec);
    ASSERT_TRUE(made);
    EXPECT_THAT(made->notes,
                ElementsAre("vDPA management device vdpasim_net cannot set the number of queue "
                            "pairs"));
    EXPECT_EQ(state.devices["vm1"].mac, spec.mac);
    EXPECT_EQ(state.devices["vm1"].mtu, spec.mtu);
    EXPECT_EQ(state.devices["vm1"].max_pairs, 1);

    ASSERT_TRUE(open().remove("vm1"));
    state.takes_pairs = true;
    state.takes_mac = false;
    made = open().ensure(spec);
    ASSERT_TRUE(made);
    EXPECT_THAT(made->notes, ElementsAre(HasSubstr("MAC address")));
    EXPECT_EQ(state.devices["vm1"].max_pairs, 4);

    ASSERT_TRUE(open().remove("vm1"));
    state.takes_pairs = state.takes_mtu = false;
    made = open().ensure(spec);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->notes.size(), 3U);
}

TEST_F(VdpaDevicesTest, of_which_nothing_is_asked_are_tried_once) {
    spec = {.name = "vm1", .management = "gone", .mac = "", .mtu = {}, .max_pairs = 1};
    const auto missing = open().ensure(spec);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().reason, Reason::device_missing);
    EXPECT_THAT(missing.error().detail, HasSubstr("gone"));
    EXPECT_EQ(state.tries, 1U);
    EXPECT_THAT(*open().owned(), IsEmpty()) << "there is nothing to undo";
}

TEST_F(VdpaDevicesTest, with_other_settings_than_before_are_made_anew) {
    ASSERT_TRUE(open().ensure(spec));
    spec.mac = "02:00:00:00:00:02";
    ASSERT_TRUE(open().ensure(spec));
    EXPECT_EQ(state.devices["vm1"].mac, spec.mac);
    EXPECT_EQ(state.removals, 1U);
}

TEST_F(VdpaDevicesTest, that_are_in_use_keep_their_settings_and_that_is_said) {
    ASSERT_TRUE(open().ensure(spec));
    state.is_open = true;
    VdpaSpec other = spec;
    other.mtu = 1500;
    const auto made = open().ensure(other);
    ASSERT_TRUE(made);
    EXPECT_THAT(made->notes, ElementsAre(HasSubstr("in use")));
    EXPECT_EQ(state.devices["vm1"], spec);
}

TEST_F(VdpaDevicesTest, that_are_open_are_never_removed) {
    ASSERT_TRUE(open().ensure(spec));
    state.is_open = true;
    const auto early = open().remove("vm1");
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().reason, Reason::device_busy);
    EXPECT_THAT(early.error().detail, AllOf(HasSubstr("vm1"), HasSubstr("/dev/vhost-vdpa-7")));
    EXPECT_EQ(state.removals, 0U) << "the kernel would wait, and hold up everybody";
    EXPECT_THAT(*open().owned(), ElementsAre("vm1"));
    state.is_open = false;
    ASSERT_TRUE(open().remove("vm1"));
    EXPECT_THAT(state.devices, IsEmpty());
    EXPECT_THAT(*open().owned(), IsEmpty());
}

TEST_F(VdpaDevicesTest, that_may_be_open_for_all_that_is_known_are_not_removed) {
    ASSERT_TRUE(open().ensure(spec));
    state.open_error = EPERM;
    const auto removed = open().remove("vm1");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().reason, Reason::device_busy);
    EXPECT_THAT(removed.error().detail,
                AllOf(HasSubstr("/dev/vhost-vdpa-7"), HasSubstr("DeviceAllow=char-vhost-vdpa")));
    VdpaSpec other = spec;
    other.mtu = 1500;
    const auto made = open().ensure(other);
    ASSERT_TRUE(made) << "a guest may have it";
    EXPECT_THAT(made->notes, ElementsAre(HasSubstr("in use")));
    EXPECT_EQ(state.removals, 0U);
    EXPECT_EQ(state.devices["vm1"], spec);
}

TEST(KernelVdpaTest, knows_of_a_device_whether_it_is_open_only_if_it_can_look) {
    const Folder folder;
    KernelVdpa kernel;
    std::ofstream(folder.path("device"));
    EXPECT_FALSE(kernel.is_open(folder.path("device")).value());
    EXPECT_FALSE(kernel.is_open(folder.path("gone")).value());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto unknown = kernel.is_open(folder.path("device"));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, EMFILE);
}

TEST_F(VdpaDevicesTest, that_are_gone_may_be_removed) {
    ASSERT_TRUE(open().ensure(spec));
    FakeVdpa(state).remove("vm1");
    EXPECT_TRUE(open().remove("vm1"));
    EXPECT_THAT(*open().owned(), IsEmpty());
    EXPECT_TRUE(open().remove("vm1")) << "nor is it an error that there never was one";
}

TEST_F(VdpaDevicesTest, that_the_virtio_driver_took_are_handed_to_vhost) {
    state.driver = "virtio_vdpa";
    const auto made = open().ensure(spec);
    ASSERT_FALSE(made) << "these files bind nothing";
    EXPECT_EQ(made.error().reason, Reason::vdpa_failed);
    EXPECT_EQ(read(drivers() + "virtio_vdpa/unbind"), "vm1");
    EXPECT_EQ(read(drivers() + "vhost_vdpa/bind"), "vm1");
    std::filesystem::create_directory(state.folder("vm1") + "/vhost-vdpa-3");
    EXPECT_EQ(open().ensure(spec)->path, "/dev/vhost-vdpa-3") << "it was ours already";
}

TEST_F(VdpaDevicesTest, need_the_vhost_module) {
    state.driver.clear();
    std::filesystem::remove_all(drivers() + "vhost_vdpa");
    const auto made = open().ensure(spec);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Reason::kernel_lacks);
    EXPECT_THAT(made.error().detail, HasSubstr("modprobe vhost_vdpa"));
}

TEST_F(VdpaDevicesTest, need_a_kernel_with_vdpa) {
    ASSERT_TRUE(open().ensure(spec));
    state.error = EPROTONOSUPPORT;
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::kernel_lacks);
    EXPECT_TRUE(open().remove("vm1")) << "it went with the module";
    EXPECT_THAT(*open().owned(), IsEmpty());
}

TEST_F(VdpaDevicesTest, are_not_made_when_they_cannot_be_recorded) {
    std::filesystem::create_directory(folder.path("owned.json.new"));
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::record_failed);
    EXPECT_EQ(state.tries, 0U);
}

TEST_F(VdpaDevicesTest, tell_what_their_queues_have_counted) {
    ASSERT_TRUE(open().ensure(spec));
    EXPECT_THAT(*open().stats("vm1", 4), IsEmpty()) << "a device that keeps none";
    state.counters[0] = {{"received_desc", 5}, {"completed_desc", 4}};
    state.counters[2] = {{"received_desc", 1}};
    EXPECT_THAT(*open().stats("vm1", 4),
                ElementsAre(Pair(0, state.counters[0]), Pair(2, state.counters[2])));
    EXPECT_THAT(*open().stats("vm1", 1), ElementsAre(Pair(0, state.counters[0])));
    EXPECT_EQ(open().stats("vm9", 1).error().reason, Reason::vdpa_failed);
}

TEST_F(VdpaDevicesTest, are_worked_at_off_the_control_thread) {
    ControlLoop control;
    VdpaWorker worker(control.io(), open());
    worker.ensure_vdpa(spec, control.note("made"));
    worker.vdpa_stats("vm1", 2, control.note("stats"));
    worker.owned_vdpa(control.note("listed"));
    worker.remove_vdpa("vm1", control.note("removed"));
    worker.vdpa_stats("vm1", 2, control.note_failure("stats"));
    EXPECT_THAT(control.answers(5),
                ElementsAre("made", "stats", "listed", "removed", HasSubstr("no statistics")));
    EXPECT_THAT(state.devices, IsEmpty());
}

}  // namespace
}  // namespace vdpa::agent::host
