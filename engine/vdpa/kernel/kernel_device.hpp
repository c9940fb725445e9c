// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/vdpa/kernel/device_thread.hpp"
#include "schema/support/error.hpp"

struct rte_vdpa_device;

namespace vdpa::engine::kernel {

/* A kernel vDPA device, /dev/vhost-vdpa-N, as a vDPA device of DPDK's vhost library: a socket that
 * it is attached to (rte_vhost_driver_attach_vdpa_device) has its rings served by it. Packets,
 * kicks and interrupts go between guest and kernel; none passes this process.
 *
 * The library's dev_conf succeeds at once: that the device runs, or why not, is in state(). Until
 * then kicks are kept by their eventfds. Front-ends are to be offered what the handle's operations
 * get_features, get_protocol_features and get_queue_num say; VHOST_F_LOG_ALL and host notifiers are
 * not among it (features.cpp has the reasons).
 *
 * Threads: open() and the destructor are for the DPDK control thread; the rest says so. */
class KernelDevice {
  public:
    using Report = DeviceThread::Report;

    /* Opens the device, which nobody else may have open, and registers it with the library, under
     * `path`. `report` gets every change of state(), in a thread of the device's; it must not wait
     * for a thread that waits for this object. Needs a running EAL.
     * Errors: device-missing, device-busy, kernel-lacks, device-failed. */
    static Expected<std::unique_ptr<KernelDevice>> open(const std::string &path, Report report);
    /* The device has to be detached from its socket, and the socket unregistered. Closes it, so
     * that it can be opened again when this returns; with much memory that takes a second or more.
     * Not while a lock is held that `report` takes. */
    ~KernelDevice();
    KernelDevice(const KernelDevice &) = delete;
    KernelDevice &operator=(const KernelDevice &) = delete;

    /* The library's view of the device; valid as long as this object. Any thread. */
    rte_vdpa_device *handle() const { return handle_; }
    /* What the device is and can do. Any thread. */
    const DeviceInfo &info() const { return thread_->info(); }
    /* Any thread. */
    State state() const { return thread_->state(); }
    /* How the guest's notifications reach the device. */
    static constexpr const char *doorbell() { return "eventfd"; }

    /* To be called after the library has handled a message of front-end `vid`, in the library's
     * event thread: the library itself does not tell of rings that were set up but are not yet
     * enabled, and a device takes rings only before it runs. */
    void after_message(int vid);

  private:
    struct Registration;
    friend struct Operations;

    explicit KernelDevice(std::unique_ptr<DeviceThread> thread);
    void refuse(const Error &why);

    const std::unique_ptr<DeviceThread> thread_;
    std::unique_ptr<class NodeWatch> watch_;
    std::unique_ptr<Registration> registration_;
    rte_vdpa_device *handle_ = nullptr;
    /* For the event thread: the session that was given to the device, as far as it is known. */
    std::unique_ptr<struct Configured> configured_;
};

}  // namespace vdpa::engine::kernel
