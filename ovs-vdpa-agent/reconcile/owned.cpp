// SPDX-License-Identifier: Apache-2.0
// What the record says an earlier agent made or changed on this host.
#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

const log::Module module("reconcile");

constexpr std::chrono::seconds owned_retry{2};

}  // namespace

/* Answers of a reading that has been begun anew since count for nothing. */
template <typename T>
auto Reconciler::reader(const std::function<void(const T &)> &take) {
    unread_++;
    return [this, take, round = owned_round_](const Expected<T> &record) {
        if (round != owned_round_) {
            return;
        }
        if (!record) {
            owned_unreadable(record.error());
            return;
        }
        take(*record);
        if (--unread_ == 0) {
            owned_error_.reset();
            pfs_awake_ = true;
            wake_all();
            wake_host();
        }
    };
}

void Reconciler::read_owned() {
    using Names = std::vector<std::string>;
    owned_round_++;
    unread_ = 0;
    env_.netdevs.owned_taps(reader<Names>([this](const Names &names) {
        for (const std::string &name : names) {
            own(name, [](Port &port) -> Asset & { return port.tap; });
        }
    }));
    using Functions = std::map<std::string, host::FunctionId>;
    env_.representors.owned_representors(reader<Functions>([this](const Functions &functions) {
        for (const auto &[name, function] : functions) {
            own(name, [](Port &port) -> Asset & { return port.representor; });
            Port &owner = port(name);
            if (!owner.representor.function) {
                owner.representor.function = function;
                owner.representor.pfs.insert(function.pf);
                update_holds(owner);
            }
        }
    }));
    env_.vdpas.owned_vdpa(reader<Names>([this](const Names &names) {
        for (const std::string &name : names) {
            own(name, [](Port &port) -> Asset & { return port.vdpa; });
        }
    }));
    env_.pfs.read_record(
        reader<host::PfRecord>([this](const auto &record) { pfs_.set_record(record); }));
}

void Reconciler::owned_unreadable(const Error &error) {
    if (owned_error_ != error) {
        module.error(error.detail);
        owned_error_ = error;
    }
    owned_round_++;  // the other answers do not matter any more
    unread_ = 1;
    owned_retry_.expires_after(owned_retry);
    owned_retry_.async_wait([this](const boost::system::error_code &cancelled) {
        if (!cancelled) {
            read_owned();
        }
    });
    wake_all();
    wake_host();
}

void Reconciler::own(const std::string &name, PickAsset pick) {
    Asset &asset = pick(port(name));
    if (asset.is_absent()) {
        asset.state = Asset::State::unknown;
    }
}

}  // namespace vdpa::agent::reconcile
