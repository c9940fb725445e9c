// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* The folder beside a socket in which that socket is made; see SocketWorkshop. Whoever has one open
 * by open_workshop_folder() holds a shared flock(2) on it, which tells it from one that an engine
 * left behind that was killed. */

/* The folder's name beside a socket of that name. */
std::string workshop_folder_name(const std::string &socket_name);

/* Opens that folder in the folder `parent`, which is called `parent_path`, and makes it if it is
 * not there. Error: socket-failed; also where it is not ours alone. */
Expected<UniqueFd> open_workshop_folder(int parent, const std::string &parent_path,
                                        const std::string &name);

/* Removes the empty ones of our user in `parent` that nobody has open, whatever socket they were
 * for. */
void remove_left_workshop_folders(int parent);

/* Removes what an earlier process left in the folder when it was killed in mid-work. */
void empty_workshop_folder(int folder);

}  // namespace vdpa::engine::vhost
