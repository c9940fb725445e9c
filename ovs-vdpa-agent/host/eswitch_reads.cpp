// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/eswitch_reads.hpp"

#include <linux/devlink.h>
#include <netlink/attr.h>

#include <cerrno>

#include "ovs-vdpa-agent/host/devlink_state.hpp"

namespace vdpa::agent::host {

/* The answer of a device that has no eswitch says so, whatever the kernel's way to say it. */
NetResult<Pf::Eswitch> request_eswitch(const Handle &device) {
    Pf::Eswitch mode = Pf::Eswitch::unsupported;
    auto devlink = GenericNetlink::open(DEVLINK_GENL_NAME, DEVLINK_GENL_VERSION);
    if (!devlink) {
        return tl::make_unexpected(devlink.error());
    }
    if (!*devlink) {
        return mode;
    }
    const NlMessage request = (*devlink)->request(DEVLINK_CMD_ESWITCH_GET);
    if (!request || nla_put_string(request.get(), DEVLINK_ATTR_BUS_NAME, device.bus.c_str()) < 0 ||
        nla_put_string(request.get(), DEVLINK_ATTR_DEV_NAME, device.device.c_str()) < 0) {
        return no_memory();
    }
    const auto done = (*devlink)->run(request.get(), [&mode](nlmsghdr *header) {
        if (const auto answer = parse_devlink(header); answer && answer->eswitch) {
            mode = *answer->eswitch;
        }
    });
    if (!done && done.error().code != EOPNOTSUPP) {
        return tl::make_unexpected(done.error());
    }
    return mode;
}

EswitchReads::EswitchReads(boost::asio::io_context &io, BackgroundReads &reads, Take take, Ask ask,
                           RetryIntervals intervals)
    : io_(io), reads_(reads), take_(std::move(take)), ask_(std::move(ask)), intervals_(intervals) {}

void EswitchReads::read(const Handle &device, std::function<void()> done) {
    reads_.run(
        "eswitch " + device.text(),
        [this, device, ask = ask_]() -> BackgroundReads::Answer {
            return [this, device, answer = ask(device)] { finish(device, answer); };
        },
        std::move(done));
}

void EswitchReads::finish(const Handle &device, const NetResult<Pf::Eswitch> &answer) {
    if (!take_(device, answer) || answer) {
        forget(device);
        return;
    }
    again_.try_emplace(device, io_, intervals_).first->second.after_failure([this, device] {
        read(device);
    });
}

}  // namespace vdpa::agent::host
