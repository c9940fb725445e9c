// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vdpa::engine::device {

/* Has the Forwarder of a device hear whether its doorbells could be handed to a front-end ("host
 * notifiers"). Drivers ask the vhost library for it, by rte_vhost_host_notifier_ctrl(), and keep
 * the result to themselves. So this program has a function of that name of its own, which drivers
 * find before the library's, as the dynamic linker looks at the program first (ld.so(8)). It does
 * what the library's does, with one difference: the library goes on asking for one ring after the
 * other when a front-end does not answer, each time for as long as it is ready to wait.
 *
 * To be called for this to be part of the program; it does nothing else. */
void watch_doorbells();

}  // namespace vdpa::engine::device
