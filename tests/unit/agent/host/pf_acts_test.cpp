// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/pf_acts.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>

#include "ovs-vdpa-agent/host/pf_worker.hpp"
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
using Kind = PfStep::Kind;

const Handle pf{"pci", "0000:43:00.0"};
const Handle vf{"pci", "0000:43:00.1"};

/* A PF with one VF, as files that keep what is written to them. */
class PfActsTest : public testing::Test {
  protected:
    void SetUp() override {
        make("devices/0000:43:00.0/sriov_numvfs", "1\n");
        make("drivers/mlx5_core/bind", "");
        make("drivers/mlx5_core/unbind", "");
        make("devices/0000:43:00.1/driver_override", "(null)\n");
        bind("mlx5_core");
        std::filesystem::create_symlink("../0000:43:00.1", path("devices/0000:43:00.0/virtfn0"));
    }
    std::string path(const std::string &name) const { return folder.path("sys/bus/pci/" + name); }
    void make(const std::string &name, const std::string &text) {
        std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
        std::ofstream(path(name)) << text;
    }
    /* A file that cannot be written to, for as long as the result lives. */
    UniqueFd make_refusing(const std::string &name, const std::string &text) const {
        UniqueFd fd(::memfd_create("refusing", MFD_ALLOW_SEALING));
        EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
        EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
        std::filesystem::remove(path(name));
        std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(fd.get()), path(name));
        return fd;
    }
    void bind(const std::string &driver) {
        std::filesystem::create_symlink("../../drivers/" + driver,
                                        path("devices/0000:43:00.1/driver"));
    }
    void unbind() { std::filesystem::remove(path("devices/0000:43:00.1/driver")); }
    std::string read(const std::string &name) {
        std::ifstream file(path(name));
        return {std::istreambuf_iterator<char>(file), {}};
    }
    Expected<void> carry_out(const PfStep &step) {
        return PfActs(OwnedFile(folder.path("owned.json")), folder.path("sys")).carry_out(step);
    }
    Owned recorded() {
        OwnedFile record(folder.path("owned.json"));
        EXPECT_TRUE(record.load());
        return record.get();
    }

    Folder folder;
    const PfStep unbind_step{.kind = Kind::unbind_vf, .pf = pf, .vf = vf};
    const PfStep bind_step{.kind = Kind::bind_vf, .pf = pf, .vf = vf, .driver = "mlx5_core"};
};

TEST_F(PfActsTest, set_the_number_of_vfs_and_record_what_it_was) {
    make("devices/0000:43:00.0/sriov_numvfs", "0\n");
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 4}));
    EXPECT_EQ(read("devices/0000:43:00.0/sriov_numvfs"), "4");
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 2}));
    EXPECT_EQ(read("devices/0000:43:00.0/sriov_numvfs"), "2");
    EXPECT_EQ(recorded().pfs[pf].num_vfs, 0U) << "at first";
    EXPECT_EQ(recorded().pfs[pf].made_vfs, 2U);
    ASSERT_TRUE(carry_out({.kind = Kind::end, .pf = pf}));
    EXPECT_EQ(recorded().pfs[pf].made_vfs, std::nullopt);
    EXPECT_EQ(recorded().pfs[pf].num_vfs, 0U);
    ASSERT_TRUE(carry_out({.kind = Kind::end, .pf = vf})) << "nothing was begun";
}

TEST_F(PfActsTest, leave_the_number_of_vfs_that_is_right) {
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 1}));
    EXPECT_EQ(read("devices/0000:43:00.0/sriov_numvfs"), "1\n");
    EXPECT_THAT(recorded().pfs, IsEmpty());
}

TEST_F(PfActsTest, forget_unbound_vfs_that_are_taken_away) {
    ASSERT_TRUE(carry_out(unbind_step));
    ASSERT_THAT(recorded().unbound, ElementsAre(Pair(vf, "mlx5_core")));
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 0}));
    EXPECT_EQ(read("devices/0000:43:00.0/sriov_numvfs"), "0");
    EXPECT_THAT(recorded().unbound, IsEmpty());
}

TEST_F(PfActsTest, do_not_take_vfs_for_their_own_that_could_not_be_made) {
    for (const char *present : {"0\n", "1\n"}) {
        const UniqueFd refusing = make_refusing("devices/0000:43:00.0/sriov_numvfs", present);
        const auto refused = carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 4});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().reason, Reason::pf_failed);
        EXPECT_EQ(recorded().pfs[pf].num_vfs, 0U);
        EXPECT_EQ(recorded().pfs[pf].made_vfs, std::nullopt) << "somebody may make as many";
    }
}

TEST_F(PfActsTest, forget_a_vf_that_has_gone_and_no_other) {
    ASSERT_TRUE(carry_out(unbind_step));
    const PfStep forget{.kind = Kind::forget_vf, .pf = pf, .vf = vf};
    ASSERT_TRUE(carry_out(forget));
    EXPECT_THAT(recorded().unbound, ElementsAre(Pair(vf, "mlx5_core"))) << "it is there";
    std::filesystem::remove_all(path("devices/0000:43:00.1"));
    ASSERT_TRUE(carry_out(forget));
    EXPECT_THAT(recorded().unbound, IsEmpty());
}

TEST_F(PfActsTest, say_of_what_has_no_vfs_that_it_has_none) {
    const auto none = carry_out({.kind = Kind::set_num_vfs, .pf = vf, .num_vfs = 1});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().reason, Reason::pf_failed);
    EXPECT_THAT(none.error().detail, AllOf(HasSubstr("0000:43:00.1"), HasSubstr("no SR-IOV")));
    const auto gone =
        carry_out({.kind = Kind::set_num_vfs, .pf = {"pci", "0000:99:00.0"}, .num_vfs = 1});
    ASSERT_FALSE(gone);
    EXPECT_THAT(gone.error().detail, HasSubstr("is not there"));
}

TEST_F(PfActsTest, unbind_a_vf_after_its_driver_is_recorded) {
    ASSERT_TRUE(carry_out(unbind_step));
    EXPECT_EQ(read("drivers/mlx5_core/unbind"), "0000:43:00.1");
    EXPECT_THAT(recorded().unbound, ElementsAre(Pair(vf, "mlx5_core")));
}

TEST_F(PfActsTest, unbind_nothing_while_it_cannot_be_recorded) {
    std::filesystem::create_directory(folder.path("owned.json.new"));
    EXPECT_EQ(carry_out(unbind_step).error().reason, Reason::record_failed);
    EXPECT_EQ(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 0}).error().reason,
              Reason::record_failed);
    EXPECT_EQ(read("drivers/mlx5_core/unbind"), "");
    EXPECT_EQ(read("devices/0000:43:00.0/sriov_numvfs"), "1\n");
}

TEST_F(PfActsTest, unbind_no_vf_that_has_no_driver_or_is_gone) {
    unbind();
    ASSERT_TRUE(carry_out(unbind_step));
    EXPECT_THAT(recorded().unbound, IsEmpty());
    ASSERT_TRUE(carry_out({.kind = Kind::unbind_vf, .pf = pf, .vf = {"pci", "0000:43:00.7"}}));
}

TEST_F(PfActsTest, bind_a_vf_to_the_driver_it_had_and_forget_it) {
    ASSERT_TRUE(carry_out(unbind_step));
    unbind();
    ASSERT_TRUE(carry_out(bind_step));
    EXPECT_EQ(read("drivers/mlx5_core/bind"), "0000:43:00.1");
    EXPECT_THAT(recorded().unbound, IsEmpty());
}

TEST_F(PfActsTest, bind_a_vf_to_the_driver_that_the_operator_has_set_meanwhile) {
    ASSERT_TRUE(carry_out(unbind_step));
    unbind();
    make("devices/0000:43:00.1/driver_override", "vfio-pci\n");
    make("drivers/vfio-pci/bind", "");
    ASSERT_TRUE(carry_out(bind_step));
    EXPECT_EQ(read("drivers/vfio-pci/bind"), "0000:43:00.1");
    EXPECT_EQ(read("drivers/mlx5_core/bind"), "");
    EXPECT_THAT(recorded().unbound, IsEmpty());
}

TEST_F(PfActsTest, name_a_driver_that_is_not_loaded_and_keep_the_vf_recorded) {
    ASSERT_TRUE(carry_out(unbind_step));
    unbind();
    std::filesystem::remove_all(path("drivers/mlx5_core"));
    const auto done = carry_out(bind_step);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::pf_failed);
    EXPECT_THAT(done.error().detail, HasSubstr("modprobe mlx5_core"));
    EXPECT_THAT(recorded().unbound, ElementsAre(Pair(vf, "mlx5_core")));
}

TEST_F(PfActsTest, forget_a_vf_that_somebody_has_bound_or_that_is_gone) {
    ASSERT_TRUE(carry_out(unbind_step));
    ASSERT_TRUE(carry_out(bind_step));
    EXPECT_EQ(read("drivers/mlx5_core/bind"), "") << "it is still bound";
    EXPECT_THAT(recorded().unbound, IsEmpty());
    ASSERT_TRUE(carry_out(unbind_step));
    std::filesystem::remove_all(path("devices/0000:43:00.1"));
    ASSERT_TRUE(carry_out(bind_step));
    EXPECT_THAT(recorded().unbound, IsEmpty());
}

TEST_F(PfActsTest, say_what_keeps_an_eswitch_from_being_set) {
    const auto done = carry_out({.kind = Kind::set_switchdev, .pf = {"netdevsim", "netdevsim999"}});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().reason, Reason::pf_failed);
    EXPECT_THAT(done.error().detail, HasSubstr("netdevsim/netdevsim999: its eswitch"));
    EXPECT_THAT(recorded().pfs, IsEmpty());
}

TEST_F(PfActsTest, do_not_mind_an_uplink_that_has_gone) {
    EXPECT_TRUE(carry_out({.kind = Kind::set_uplink_up, .pf = pf, .ifindex = 1 << 20}));
}

class PfWorkerTest : public PfActsTest {
  protected:
    ControlLoop control;
};

TEST_F(PfWorkerTest, answers_each_step_once_on_the_control_thread) {
    std::vector<PfStep> steps;
    PfWorker worker(control.io(), OwnedFile(folder.path("owned.json")), [&](const PfStep &step) {
        steps.push_back(step);
        return Expected<void>();
    });
    worker.carry_out(unbind_step, control.note("unbound"));
    worker.carry_out(bind_step, control.note("bound"));
    EXPECT_THAT(control.answers(2), ElementsAre("unbound", "bound"));
    EXPECT_THAT(steps, ElementsAre(unbind_step, bind_step));
}

TEST_F(PfWorkerTest, lets_a_pf_whose_eswitch_takes_its_time_hold_up_no_other) {
    std::promise<void> begun;
    std::promise<void> let_go;
    PfWorker worker(control.io(), OwnedFile(folder.path("owned.json")), [&](const PfStep &step) {
        if (step.kind == Kind::set_switchdev) {
            begun.set_value();
            let_go.get_future().wait();
        }
        return Expected<void>();
    });
    const PfStep slow{.kind = Kind::set_switchdev, .pf = pf};
    const PfStep other{.kind = Kind::set_uplink_up, .pf = {"pci", "0000:99:00.0"}};
    worker.carry_out(slow, control.note("slow"));
    ASSERT_EQ(begun.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
    worker.carry_out(bind_step, control.note("bound"));
    worker.carry_out(other, control.note("other"));
    EXPECT_THAT(control.answers(1), ElementsAre("other"));
    worker.read_record(control.note("listed"));
    EXPECT_THAT(control.answers(2), ElementsAre("other", "listed"));
    let_go.set_value();
    EXPECT_THAT(control.answers(4), ElementsAre("other", "listed", "slow", "bound"));
}

TEST_F(PfWorkerTest, tells_an_agent_that_comes_back_what_is_left_to_be_done) {
    ASSERT_TRUE(carry_out({.kind = Kind::set_num_vfs, .pf = pf, .num_vfs = 4}));
    ASSERT_TRUE(carry_out(unbind_step));
    PfWorker worker(control.io(), OwnedFile(folder.path("owned.json")));
    worker.read_record([&](const Expected<PfRecord> &record) {
        ASSERT_TRUE(record);
        EXPECT_THAT(record->unbound, ElementsAre(Pair(vf, "mlx5_core")));
        EXPECT_THAT(record->made, ElementsAre(Pair(pf, 4U)));
        control.note("listed")(record);
    });
    EXPECT_THAT(control.answers(1), ElementsAre("listed"));
}

TEST_F(PfWorkerTest, hands_on_what_went_wrong) {
    std::ofstream(folder.path("owned.json")) << "garbage";
    PfWorker worker(control.io(), OwnedFile(folder.path("owned.json")));
    worker.carry_out(unbind_step, control.note_failure("unbound"));
    worker.read_record(control.note_failure("listed"));
    EXPECT_THAT(control.answers(2), testing::Each(HasSubstr("is no JSON")));
}

}  // namespace
}  // namespace vdpa::agent::host
