// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/background_reads.hpp"
#include "ovs-vdpa-agent/host/devlink_monitor.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/link_monitor.hpp"
#include "ovs-vdpa-agent/host/sysfs.hpp"
#include "ovs-vdpa-agent/host/uevent_monitor.hpp"
#include "ovs-vdpa-agent/host/vdpa_state.hpp"

namespace vdpa::agent::host {

/* Keeps the inventory of this host: listens to rtnetlink, devlink and uevents, reads what they do
 * not carry in the background, and tells of the result when it differs from the last. Changes that
 * follow each other quickly are told of together, so that at most a fifth of the thread's time goes
 * into that.
 *
 * Lives on the control thread and never blocks it. What cannot be read is tried again until it can,
 * logged, and among the inventory's problems, which is then of what can be read. */
class InventoryMonitor {
  public:
    struct Settings {
        std::string sysfs_root = "/sys";
        /* Of the receive buffer of devlink's notifications, in bytes; 0 stands for 4 MiB. */
        int devlink_buffer = 0;
        /* For how long the first inventory waits for what is slow to answer. */
        std::chrono::milliseconds patience{2000};
        /* Between tries at what cannot be read. */
        RetryIntervals retry = {};
    };
    /* The first time with all that there is, then with every difference. */
    using Listener = std::function<void(std::shared_ptr<const Inventory>)>;

    /* `links` must outlive this; its on_device_change() is taken. */
    InventoryMonitor(boost::asio::io_context &io, LinkMonitor &links, Settings settings,
                     Listener listener);

    void start();

    /* What the listener was told last; null before. */
    const std::shared_ptr<const Inventory> &inventory() const { return inventory_; }

    /* Reads anew what nothing notifies of: what sysfs has, and the mode of the device's eswitch. To
     * be called after each step that changes a PF, and for a port that waits for one. `done` is
     * called afterwards, after the listener if there was a difference. It waits for the device, but
     * for no other. */
    void refresh(const Handle &device, std::function<void()> done = {});
    /* The same for kernel vDPA devices and management devices. */
    void refresh_vdpa(std::function<void()> done = {});

    unsigned devlink_overruns() const { return devlink_.overruns(); }

  private:
    void on_uevent(const std::optional<Uevent> &event);
    void read_sysfs(std::function<void()> done = {});
    void read_vdpa(std::function<void()> done = {});
    void read_eswitches();
    void listen_to_uevents();
    std::vector<std::string> problems() const;
    bool has_eswitch(const Handle &device) const;
    /* What was not yet read once. */
    std::vector<std::string> missing() const;
    void changed();
    void update();
    void watch_vf_macs(const Inventory &inventory);

    LinkMonitor &links_;
    const Settings settings_;
    const Listener listener_;
    BackgroundReads reads_;
    DevlinkMonitor devlink_;
    UeventMonitor uevents_;
    ReadRetry listening_;
    ReadRetry listing_vdpa_;
    SysfsSnapshot sysfs_;
    VdpaState vdpa_;
    bool has_sysfs_ = false;  // with all of wanted_
    bool has_vdpa_ = false;
    bool is_impatient_ = false;
    /* Devices of other buses that sysfs was asked for. */
    std::set<Handle> wanted_;
    std::set<Handle> stirred_;  // whose eswitch is to be asked
    bool is_update_due_ = false;
    std::chrono::nanoseconds update_cost_{0};
    boost::asio::steady_timer update_;
    boost::asio::steady_timer patience_;
    boost::asio::steady_timer module_;
    std::shared_ptr<const Inventory> inventory_;
};

}  // namespace vdpa::agent::host
