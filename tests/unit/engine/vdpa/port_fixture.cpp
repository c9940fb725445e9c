// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/vdpa/port_fixture.hpp"

#include <chrono>

#include "engine/vdpa/vdpa_datapath.hpp"
#include "tests/device/test_device.hpp"
#include "tests/unit/engine/start_dpdk.hpp"

namespace vdpa::engine::device {

namespace {

constexpr std::chrono::seconds bound{10};

}  // namespace

void PortFixture::SetUp() {
    ASSERT_TRUE(test::start_dpdk());
    events_ = std::make_unique<vhost::EventThread>(folder_ / "rpc.sock");
    devices_ = std::make_unique<DeviceTable>(sysfs_.path());
    test::take_calls();
}

void PortFixture::TearDown() {
    devices_.reset();
    events_.reset();
}

Expected<std::unique_ptr<vhost::Datapath>> PortFixture::make(const schema::PortSpec &spec, bool) {
    auto device = devices_->open_hardware(spec.device.name);
    if (!device) {
        return tl::make_unexpected(device.error());
    }
    return std::make_unique<VdpaDatapath>(std::move(*device), *events_, vhost::offer_of(spec));
}

schema::PortSpec PortFixture::spec(const std::string &device, uint32_t max_queues) const {
    schema::PortSpec spec;
    spec.name = "vm1";
    spec.socket.path = folder_ / "vm1.sock";
    spec.device = {.kind = schema::DeviceKind::dpdk, .name = device};
    spec.max_queues = max_queues;
    spec.packed = true;
    spec.offloads = true;
    return spec;
}

Expected<std::unique_ptr<vhost::Port>> PortFixture::create(const schema::PortSpec &spec,
                                                           bool takes_over) {
    return vhost::Port::create(
        {.datapaths = *this, .event_thread = *events_}, spec, 0,
        [this](const vhost::Live &live) {
            const std::lock_guard lock(mutex_);
            live_ = live;
            changed_.notify_all();
        },
        takes_over);
}

std::unique_ptr<vhost::Port> PortFixture::serve(const schema::PortSpec &spec) {
    auto port = create(spec);
    EXPECT_TRUE(port) << (port ? "" : port.error().detail);
    if (port) {
        const auto started = (*port)->start(nullptr);
        EXPECT_TRUE(started) << (started ? "" : started.error().detail);
    }
    return port ? std::move(*port) : nullptr;
}

vhost::Live PortFixture::live() const {
    const std::lock_guard lock(mutex_);
    return live_;
}

bool PortFixture::eventually(const std::function<bool(const vhost::Live &)> &condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, bound, [&] { return condition(live_); });
}

bool PortFixture::eventually_checking(vhost::Port &port,
                                      const std::function<bool(const vhost::Live &)> &condition) {
    const auto end = std::chrono::steady_clock::now() + bound;
    while (std::chrono::steady_clock::now() < end) {
        EXPECT_TRUE(port.check_device());
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, std::chrono::milliseconds(100),
                              [&] { return condition(live_); })) {
            return true;
        }
    }
    return false;
}

std::string PortFixture::reason_of(const vhost::Live &live) {
    const auto &fault = live.fault ? live.fault : live.datapath.fault;
    return fault ? schema::to_string(fault->reason) : "";
}

}  // namespace vdpa::engine::device
