// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/uevent_monitor.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

/* UEVENT_BUFFER_SIZE of the kernel, and the header. */
constexpr size_t max_message = 8192;
constexpr unsigned kernel_group = 1;

}  // namespace

std::optional<Uevent> parse_uevent(std::string_view message) {
    constexpr std::string_view subsystem = "SUBSYSTEM=";
    const std::string_view head = message.substr(0, message.find('\0'));
    const size_t at = head.find('@');
    if (at == std::string_view::npos || head.size() == message.size()) {
        return std::nullopt;
    }
    Uevent event{std::string(head.substr(0, at)), {}, std::string(head.substr(at + 1))};
    for (std::string_view rest = message.substr(head.size() + 1); !rest.empty();) {
        const std::string_view pair = rest.substr(0, rest.find('\0'));
        if (pair.starts_with(subsystem)) {
            event.subsystem = pair.substr(subsystem.size());
        }
        rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    }
    return event;
}

UeventMonitor::UeventMonitor(boost::asio::io_context &io, Listener listener)
    : listener_(std::move(listener)), descriptor_(io) {}

Expected<void> UeventMonitor::start(int buffer_size) {
    constexpr int default_size = 4 << 20;
    const int size = buffer_size == 0 ? default_size : buffer_size;
    UniqueFd socket(
        ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = kernel_group;
    if (!socket ||
        ::bind(socket.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) {
        return fail(schema::Reason::kernel_lacks, errno_text(errno));
    }
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
        (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    boost::system::error_code error;
    descriptor_.assign(socket.get(), error);
    if (error) {
        return fail(schema::Reason::kernel_lacks, error.message());
    }
    (void)socket.release();
    wait();
    return {};
}

void UeventMonitor::wait() {
    descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code &error) {
                               if (!error) {
                                   receive();
                                   wait();
                               }
                           });
}

void UeventMonitor::receive() {
    std::array<char, max_message> buffer;
    while (true) {
        sockaddr_nl from{};
        socklen_t from_size = sizeof from;
        const ssize_t size = ::recvfrom(descriptor_.native_handle(), buffer.data(), buffer.size(),
                                        0, reinterpret_cast<sockaddr *>(&from), &from_size);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == ENOBUFS) {
            listener_(std::nullopt);
            continue;
        }
        if (size < 0) {
            return;
        }
        // Programs may send to the group, too.
        if (from.nl_pid != 0) {
            continue;
        }
        if (const auto event =
                parse_uevent(std::string_view(buffer.data(), static_cast<size_t>(size)))) {
            listener_(event);
        }
    }
}

}  // namespace vdpa::agent::host
