// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/representor_worker.hpp"

#include <future>
#include <mutex>

#include "tests/unit/agent/host/control_loop.hpp"
#include "tests/unit/agent/host/representor_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;

constexpr std::chrono::seconds longest_wait{30};

/* A PF whose driver is at work on its eswitch until it is let go: then requests of devlink block.
 */
struct SlowPf {
    std::once_flag once;
    std::promise<void> reached;
    std::promise<void> let_go;
    std::shared_future<void> gone = let_go.get_future().share();
};

class SlowSwitch : public FakeSwitch {
  public:
    SlowSwitch(State &state, const std::string &slow_pf, SlowPf &slow)
        : FakeSwitch(state), slow_pf_(slow_pf), slow_(slow) {}

    NetResult<std::optional<int>> netdev(const Handle &device, uint32_t port) override {
        if (device.device == slow_pf_) {
            std::call_once(slow_.once, [this] { slow_.reached.set_value(); });
            slow_.gone.wait();
        }
        return FakeSwitch::netdev(device, port);
    }

  private:
    std::string slow_pf_;
    SlowPf &slow_;
};

class RepresentorWorkerTest : public RepresentorTest {
  protected:
    void SetUp() override {
        RepresentorTest::SetUp();
        if (IsSkipped()) {
            return;
        }
        const OwnedFile record(folder.path("owned.json"));
        ASSERT_TRUE(OwnedFile(record).load());
        worker = std::make_unique<RepresentorWorker>(control.io(), record, [this, record] {
            return Representors(std::move(*Rtnl::open()),
                                std::make_unique<SlowSwitch>(nic, "0000:99:00.0", slow), record);
        });
    }
    void TearDown() override {
        worker.reset();
        RepresentorTest::TearDown();
    }
    RepresentorSpec make_slow(uint32_t vf) {
        auto spec = make_representor(vf);
        spec.function.pf.device = spec.devlink.device = "0000:99:00.0";
        return spec;
    }
    bool is_slow_pf_reached() {
        return slow.reached.get_future().wait_for(longest_wait) == std::future_status::ready;
    }

    SlowPf slow;
    ControlLoop control;
    std::unique_ptr<RepresentorWorker> worker;
};

TEST_F(RepresentorWorkerTest, answers_each_request_once_on_the_control_thread) {
    const auto vf0 = make_representor(0);
    worker->ensure_representor("vm1", vf0, control.note("ensured"));
    control.answers(1);
    EXPECT_EQ(name_of(vf0), "vm1");
    worker->owned_representors([&](const Expected<std::map<std::string, FunctionId>> &owned) {
        ASSERT_TRUE(owned);
        EXPECT_THAT(*owned, ElementsAre(testing::Pair("vm1", vf0.function)));
        control.note("listed")(owned);
    });
    control.answers(2);
    worker->release_representor("vm1", false, control.note("released"));
    EXPECT_THAT(control.answers(3), ElementsAre("ensured", "listed", "released"));
    EXPECT_EQ(name_of(vf0), "eth0");
}

TEST_F(RepresentorWorkerTest, carries_requests_about_one_name_out_in_their_order) {
    const auto vf0 = make_representor(0);
    for (int i = 0; i < 10; i++) {
        worker->ensure_representor("vm1", vf0, control.note("ensured"));
        worker->release_representor("vm1", false, control.note("released"));
    }
    worker->ensure_representor("vm1", vf0, control.note("ensured"));
    const auto answers = control.answers(21);
    ASSERT_EQ(answers.size(), 21U);
    for (size_t i = 0; i < answers.size(); i++) {
        EXPECT_EQ(answers[i], i % 2 == 0 ? "ensured" : "released") << i;
    }
    EXPECT_EQ(name_of(vf0), "vm1");
}

TEST_F(RepresentorWorkerTest, lets_a_pf_whose_driver_is_at_work_hold_up_no_other) {
    const auto vf0 = make_representor(0);
    const auto vf1 = make_slow(1);
    worker->ensure_representor("slow", vf1, control.note("slow"));
    ASSERT_TRUE(is_slow_pf_reached());
    worker->ensure_representor("vm1", vf0, control.note("vm1"));
    EXPECT_THAT(control.answers(1), ElementsAre("vm1"));
    EXPECT_EQ(name_of(vf0), "vm1");
    slow.let_go.set_value();
    EXPECT_THAT(control.answers(2), ElementsAre("vm1", "slow"));
}

TEST_F(RepresentorWorkerTest, has_a_row_that_goes_to_another_pf_wait_for_both) {
    const auto vf0 = make_representor(0);
    const auto vf1 = make_slow(1);
    worker->ensure_representor("vm1", vf1, control.note("slow"));
    ASSERT_TRUE(is_slow_pf_reached());
    worker->ensure_representor("vm1", vf0, control.note("moved"));
    worker->release_representor("vm1", false, control.note("released"));
    slow.let_go.set_value();
    EXPECT_THAT(control.answers(3), ElementsAre("slow", "moved", "released"));
    EXPECT_EQ(name_of(vf0), "eth0");
    EXPECT_EQ(name_of(vf1), "eth1");
}

TEST_F(RepresentorWorkerTest, says_that_nothing_can_be_opened) {
    worker = std::make_unique<RepresentorWorker>(
        control.io(), OwnedFile(folder.path("owned.json")), []() -> Expected<Representors> {
            return fail(schema::Reason::representor_failed, "no sockets");
        });
    worker->ensure_representor("vm1", {}, control.note_failure("ensured"));
    worker->release_representor("vm1", false, control.note_failure("released"));
    EXPECT_THAT(control.answers(2), testing::Each(testing::HasSubstr("no sockets")));
}

TEST_F(RepresentorWorkerTest, may_end_while_there_is_something_to_do) {
    const auto vf0 = make_representor(0);
    for (int i = 0; i < 20; i++) {
        worker->ensure_representor("vm1", vf0, control.note("ensured"));
    }
    worker.reset();
    control.io().poll();
    EXPECT_TRUE(open().ensure("vm1", vf0));
}

}  // namespace
}  // namespace vdpa::agent::host
