// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/doorbell.hpp"

#include <dlfcn.h>
#include <rte_vhost.h>
#include <vdpa_driver.h>

#include <cerrno>

#include "engine/vdpa/forwarder.hpp"

namespace vdpa::engine::device {

namespace {

using Control = int (*)(int, uint16_t, bool);

Control library_function() {
    static const auto function =
        reinterpret_cast<Control>(::dlsym(RTLD_NEXT, "rte_vhost_host_notifier_ctrl"));
    return function;
}

}  // namespace

void watch_doorbells() {}

}  // namespace vdpa::engine::device

/* Not noexcept, and without a lock across the library's function: drivers call this on threads that
 * they cancel (sfc). */
extern "C" [[gnu::visibility("default")]] int rte_vhost_host_notifier_ctrl(int vid, uint16_t qid,
                                                                           bool enable) {
    using vdpa::engine::device::Forwarder;
    const auto control = vdpa::engine::device::library_function();
    if (!control) {
        return -ENOTSUP;
    }
    Forwarder *forwarder = Forwarder::of(rte_vhost_get_vdpa_device(vid));
    if (!forwarder) {
        return control(vid, qid, enable);
    }
    const uint16_t first = qid == RTE_VHOST_QUEUE_ALL ? uint16_t{0} : qid;
    const uint16_t end =
        qid == RTE_VHOST_QUEUE_ALL ? rte_vhost_get_vring_num(vid) : static_cast<uint16_t>(qid + 1);
    for (uint16_t ring = first; ring < end; ++ring) {
        const int result = control(vid, ring, enable);
        forwarder->on_doorbell(ring, enable && result == 0);
        if (enable && result != 0) {
            for (uint16_t before = first; before < ring; ++before) {
                control(vid, before, false);
                forwarder->on_doorbell(before, false);
            }
            return result;
        }
    }
    return 0;
}
