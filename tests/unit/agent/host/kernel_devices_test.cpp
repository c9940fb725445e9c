// SPDX-License-Identifier: Apache-2.0
// Acts on a PCI device with SR-IOV and on vDPA devices.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "ovs-vdpa-agent/host/vdpa_devices.hpp"
#include "tests/unit/agent/host/kernel_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using Kind = PfStep::Kind;

/* A PF that is an nvme controller, which has VFs without being a network card. */
class SriovTest : public testing::Test {
  protected:
    void SetUp() override {
        std::error_code error;
        for (const auto &entry :
             std::filesystem::directory_iterator("/sys/bus/pci/drivers/nvme", error)) {
            const Handle candidate{"pci", entry.path().filename()};
            if (std::filesystem::exists(entry.path() / "sriov_numvfs")) {
                pf = candidate;
            }
        }
        if (pf.device.empty()) {
            GTEST_SKIP() << "needs an nvme device with SR-IOV";
        }
    }
    void TearDown() override {
        if (!pf.device.empty()) {
            EXPECT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 0}));
        }
    }
    Expected<void> carry_out(const PfStep &step) {
        auto done = PfActs(OwnedFile(folder.path("owned.json"))).carry_out(step);
        EXPECT_TRUE(done) << (done ? "" : done.error().detail);
        return done;
    }
    /* A VF with a driver. The device of QEMU's VFs does not get ready for that of nvme. */
    void make_bound_vf() {
        ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 1}));
        ASSERT_EQ(vfs().size(), 1U);
        vf = vfs().front();
        ASSERT_TRUE(run("modprobe pci-stub"));
        const DeviceFiles files("/sys", vf);
        ASSERT_TRUE(wait_for([&files] { return files.driver().empty(); }));
        ASSERT_EQ(files.write("driver_override", stub), 0);
        ASSERT_EQ(files.bind(stub), 0);
        ASSERT_EQ(driver(vf), stub);
    }
    std::vector<Handle> vfs() { return DeviceFiles("/sys", pf).vfs(); }
    static std::string driver(const Handle &device) { return DeviceFiles("/sys", device).driver(); }
    std::map<Handle, std::string> unbound() {
        OwnedFile record(folder.path("owned.json"));
        EXPECT_TRUE(record.load());
        return record.get().unbound;
    }

    static constexpr const char *stub = "pci-stub";
    Folder folder;
    Handle pf;
    Handle vf;
};

TEST_F(SriovTest, vfs_are_made_and_made_anew_in_another_number) {
    for (const uint32_t count : {2U, 2U, 4U, 1U, 0U}) {
        ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = count}));
        EXPECT_EQ(vfs().size(), count);
    }
}

TEST_F(SriovTest, vfs_are_unbound_and_bound_again) {
    ASSERT_NO_FATAL_FAILURE(make_bound_vf());
    const PfStep unbind{.kind = Kind::unbind_vf, .pf = pf, .vf = vf};
    ASSERT_TRUE(carry_out(unbind));
    EXPECT_EQ(driver(vf), "");
    EXPECT_THAT(unbound(), ElementsAre(Pair(vf, stub)));
    ASSERT_TRUE(carry_out(unbind)) << "again";
    EXPECT_THAT(unbound(), ElementsAre(Pair(vf, stub)));
    const PfStep bind{.kind = Kind::bind_vf, .pf = pf, .vf = vf, .driver = stub};
    ASSERT_TRUE(carry_out(bind));
    EXPECT_EQ(driver(vf), stub);
    EXPECT_THAT(unbound(), IsEmpty());
    ASSERT_TRUE(carry_out(bind)) << "again";
}

TEST_F(SriovTest, a_driver_that_refuses_a_vf_is_named_with_the_reason) {
    ASSERT_NO_FATAL_FAILURE(make_bound_vf());
    ASSERT_TRUE(carry_out({.kind = Kind::unbind_vf, .pf = pf, .vf = vf}));
    ASSERT_EQ(DeviceFiles("/sys", vf).write("driver_override", "\n"), 0);
    const PfStep bind{.kind = Kind::bind_vf, .pf = pf, .vf = vf, .driver = stub};
    const auto done = PfActs(OwnedFile(folder.path("owned.json"))).carry_out(bind);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::pf_failed);
    EXPECT_THAT(done.error().detail,
                testing::AllOf(testing::HasSubstr(vf.device), testing::HasSubstr(stub),
                               testing::HasSubstr("No such device")));
    EXPECT_THAT(unbound(), ElementsAre(Pair(vf, stub))) << "it is still ours to bind";
}

TEST_F(SriovTest, unbound_vfs_that_are_taken_away_are_forgotten) {
    ASSERT_NO_FATAL_FAILURE(make_bound_vf());
    ASSERT_TRUE(carry_out({.kind = Kind::unbind_vf, .pf = pf, .vf = vf}));
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 2}));
    EXPECT_THAT(unbound(), IsEmpty());
}

/* The kernel's vDPA simulator of a network card. */
class VdpaSimulatorTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!run("vdpa mgmtdev show vdpasim_net 2>/dev/null")) {
            GTEST_SKIP() << "needs modules vdpa_sim_net and vhost_vdpa";
        }
    }
    void TearDown() override { run("vdpa dev del ovda771 2>/dev/null"); }
    VdpaDevices open() {
        return VdpaDevices(std::make_unique<KernelVdpa>(), OwnedFile(folder.path("owned.json")));
    }

    Folder folder;
    VdpaSpec spec{.name = "ovda771",
                  .management = "vdpasim_net",
                  .mac = "02:00:00:00:07:71",
                  .mtu = 1400,
                  .max_pairs = 1};
};

TEST_F(VdpaSimulatorTest, is_made_with_its_character_device_and_removed) {
    const auto made = open().ensure(spec);
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_THAT(made->notes, IsEmpty());
    EXPECT_TRUE(wait_for([&] { return ::access(made->path.c_str(), R_OK | W_OK) == 0; }));
    const auto config = run("vdpa dev config show ovda771").value_or("");
    EXPECT_THAT(config, testing::AllOf(testing::HasSubstr("02:00:00:00:07:71"),
                                       testing::HasSubstr("mtu 1400")));
    const auto again = open().ensure(spec);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->path, made->path);
    ASSERT_TRUE(open().remove("ovda771"));
    EXPECT_FALSE(run("vdpa dev show ovda771 2>/dev/null"));
    EXPECT_TRUE(open().remove("ovda771"));
}

TEST_F(VdpaSimulatorTest, that_cannot_have_many_queues_says_so) {
    spec.max_pairs = 4;
    const auto made = open().ensure(spec);
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_THAT(made->notes, ElementsAre(testing::HasSubstr("number of queue pairs")));
    EXPECT_THAT(run("vdpa dev config show ovda771").value_or(""),
                testing::HasSubstr("02:00:00:00:07:71"));
}

TEST_F(VdpaSimulatorTest, that_is_open_is_not_removed) {
    const auto made = open().ensure(spec);
    ASSERT_TRUE(made) << made.error().detail;
    ASSERT_TRUE(wait_for([&] { return ::access(made->path.c_str(), R_OK | W_OK) == 0; }));
    UniqueFd user(::open(made->path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(user);
    EXPECT_EQ(open().remove("ovda771").error().reason, Reason::device_busy);
    EXPECT_TRUE(run("vdpa dev show ovda771")) << "and nobody who asks about vDPA is held up";
    user.reset();
    EXPECT_TRUE(open().remove("ovda771"));
}

TEST_F(VdpaSimulatorTest, that_somebody_else_made_is_left_alone) {
    ASSERT_TRUE(run("vdpa dev add name ovda771 mgmtdev vdpasim_net"));
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::name_taken);
    ASSERT_TRUE(open().remove("ovda771"));
    EXPECT_TRUE(run("vdpa dev show ovda771"));
}

TEST_F(VdpaSimulatorTest, of_a_management_device_that_is_not_there_is_missing) {
    spec.management = "pci/0000:99:00.2";
    EXPECT_EQ(open().ensure(spec).error().reason, Reason::device_missing);
}

TEST_F(VdpaSimulatorTest, keeps_no_statistics) {
    ASSERT_TRUE(open().ensure(spec));
    const auto stats = open().stats("ovda771", 3);
    ASSERT_TRUE(stats) << stats.error().detail;
    EXPECT_THAT(*stats, IsEmpty());
    EXPECT_FALSE(open().stats("nosuchdevice", 3));
}

TEST_F(VdpaSimulatorTest, that_the_virtio_driver_has_is_taken_from_it) {
    ASSERT_TRUE(run("modprobe virtio_vdpa"));
    ASSERT_TRUE(open().ensure(spec));
    const DeviceFiles files("/sys", {"vdpa", "ovda771"});
    ASSERT_EQ(files.unbind("vhost_vdpa"), 0);
    ASSERT_EQ(files.bind("virtio_vdpa"), 0);
    const auto made = open().ensure(spec);
    EXPECT_TRUE(made) << made.error().detail;
    EXPECT_EQ(files.driver(), "vhost_vdpa");
    run("modprobe -r virtio_vdpa");
}

}  // namespace
}  // namespace vdpa::agent::host
