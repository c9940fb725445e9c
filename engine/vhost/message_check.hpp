// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "engine/vhost/message.hpp"

/* What a front-end says is not believed. The vhost library checks little of it, and handles
 * messages of protocol features that were never offered; what it would do with the following ends
 * the engine, or worse. */
namespace vdpa::engine::vhost {

/* Why the library must not get to see `message`, in words for the log; null when it may.
 * `offered`: the protocol features, as bits. Refused are
 * - requests of protocol features that were not offered (GET_INFLIGHT_FD, for one, has the library
 *   allocate as much memory as the front-end likes), and unknown ones;
 * - payloads shorter than what is read from them;
 * - memory regions that reach past the end of their file, where an access means SIGBUS, that wrap
 *   around, or that overlap, so that an address would mean two things;
 * - memory regions one of which cannot be mapped beside the others: the library keeps the
 *   descriptor of such a one for ever (lib/vhost/vhost_user.c, vhost_user_set_mem_table:
 *   free_mem_region() does not count it), and a front-end could use up all that this process may
 *   have;
 * - memory regions that use up the addresses of this process: a file may be as large as anything
 *   and cost nothing, and no thread could allocate memory any more;
 * - a dirty log that its file does not cover, or that does not begin at the file's beginning (the
 *   library adds its offset twice, lib/vhost/vhost_user.c, vhost_user_set_log_base);
 * - descriptors for kicks and calls that could keep those who poll or signal them. */
const char *refusal(const Message &message, uint64_t offered);

/* Whether the library, in handling it, changes or hands out memory, rings or their descriptors. */
bool touches_rings(Request request);

/* The ring that a message is about, or none. */
std::optional<uint32_t> ring_of(const Message &message);

}  // namespace vdpa::engine::vhost
