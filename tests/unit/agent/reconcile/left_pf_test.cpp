// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/stack.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/* A PCI PF in legacy mode, whose first VF is being unbound. */
class LeftPfs : public Stack {
  protected:
    void set_pfs(const std::string &value) { set_other_config({{"vdpa-pfs", value}}); }
    void begin() {
        host::Pf &pf = host.add_pf(2);
        pf.eswitch = host::Pf::Eswitch::legacy;
        host.publish();
        set_pfs("0000:43:00.0,num-vfs=2");
        start_agent();
        open_database();
        engine.connect();
        host.hold();
        settle();
        ASSERT_THAT(host.calls, ElementsAre("pf unbind"));
    }
    void fail_to_bind() {
        host.step_error = [](const host::PfStep &step) {
            return step.kind == host::PfStep::Kind::bind_vf
                       ? std::optional(Error{schema::Reason::pf_failed, "no driver mlx5_core"})
                       : std::nullopt;
        };
    }
    void expect_bound() {
        EXPECT_EQ(host.vf(0).driver, "mlx5_core");
        EXPECT_EQ(host.vf(1).driver, "mlx5_core");
        EXPECT_THAT(host.pf_record.unbound, IsEmpty());
        EXPECT_THAT(board->host().pfs, IsEmpty());
    }
};

TEST_F(LeftPfs, in_the_middle_of_a_step_get_their_vfs_bound_when_it_is_done) {
    begin();
    set_other_config({});
    host.let_go();
    settle();
    expect_bound();
    EXPECT_THAT(host.calls, ElementsAre("pf unbind", "pf bind"));
    EXPECT_EQ(host.inventory.pfs[0].eswitch, host::Pf::Eswitch::legacy) << "nothing is begun";
}

TEST_F(LeftPfs, while_the_record_cannot_be_read_do_not_forget_their_vfs) {
    backoff = quick_retries;
    begin();
    set_other_config({});
    host.record_error = Error{schema::Reason::record_failed, "no space"};
    host.let_go();
    EXPECT_TRUE(until([this] { return host_status("vdpa-host-reason") == "record-failed"; }));
    host.record_error.reset();
    EXPECT_TRUE(until([this] { return host.pf_record.unbound.empty(); }));
    settle();
    expect_bound();
}

TEST_F(LeftPfs, whose_vfs_cannot_be_bound_say_so_and_are_not_tried_again_at_once) {
    begin();
    fail_to_bind();
    set_other_config({});
    host.let_go();
    settle();
    EXPECT_EQ(host.count("pf bind"), 1U);
    EXPECT_EQ(host_status("vdpa-host-reason"), "pf-failed");
    EXPECT_THAT(host_status("vdpa-host-detail"), HasSubstr("no driver mlx5_core"));
}

TEST_F(LeftPfs, whose_vfs_cannot_be_bound_are_tried_again_later) {
    backoff = quick_retries;
    begin();
    fail_to_bind();
    set_other_config({});
    host.let_go();
    EXPECT_TRUE(until([this] { return host.count("pf bind") >= 3; }));
    host.step_error = nullptr;
    EXPECT_TRUE(until([this] { return host.pf_record.unbound.empty(); }));
    settle();
    expect_bound();
    EXPECT_EQ(host_status("vdpa-host-reason"), "");
}

TEST_F(LeftPfs, while_no_agent_ran_get_their_vfs_bound_by_the_next) {
    begin();
    host.let_go();
    settle();
    host.change([this] {
        host.inventory.pfs[0].eswitch = host::Pf::Eswitch::legacy;
        host.vf(1).driver = "";
        host.pf_record.unbound[host::Handle{"pci", "0000:43:00.3"}] = "mlx5_core";
    });
    start_agent();
    set_other_config({});
    open_database();
    settle();
    expect_bound();
    EXPECT_EQ(host.inventory.pfs[0].eswitch, host::Pf::Eswitch::legacy);
}

TEST_F(LeftPfs, that_are_named_again_meanwhile_are_prepared) {
    begin();
    set_other_config({});
    settle();
    set_pfs("0000:43:00.0,num-vfs=2");
    host.let_go();
    settle();
    EXPECT_EQ(host.inventory.pfs[0].eswitch, host::Pf::Eswitch::switchdev);
    EXPECT_EQ(host.vf(0).driver, "mlx5_core");
    EXPECT_THAT(host.pf_record.unbound, IsEmpty());
    EXPECT_EQ(board->host().pfs[0].reason, std::nullopt);
}

}  // namespace
}  // namespace vdpa::agent::reconcile
