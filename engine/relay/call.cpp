// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/call.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace vdpa::engine::relay {

namespace {

/* How many results wait at most until they are taken, all at once. */
constexpr unsigned batch = 64;

}  // namespace

bool is_eventfd(int fd) {
    // Unlike that of a file, this name cannot be chosen (proc(5), /proc/pid/fd).
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    std::array<char, 64> name{};
    const ssize_t length = ::readlink(link.c_str(), name.data(), name.size());
    return length > 0 &&
           std::string_view(name.data(), static_cast<size_t>(length)) == "anon_inode:[eventfd]";
}

bool is_unix_socket(int fd) {
    int domain = 0;
    socklen_t length = sizeof(domain);
    return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

Caller::~Caller() {
    if (context_ != 0) {
        ::syscall(SYS_io_destroy, context_);
    }
}

Expected<void> Caller::open() {
    null_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!null_ || ::syscall(SYS_io_setup, batch, &context_) != 0) {
        const int error = errno;
        context_ = 0;
        return fail(schema::Reason::engine_error,
                    "no asynchronous I/O (" + errno_text(error) +
                        (error == EAGAIN ? "; raise the sysctl fs.aio-max-nr)" : ")"));
    }
    return {};
}

bool Caller::signal(int eventfd) {
    if (context_ == 0) {
        const uint64_t one = 1;
        return ::write(eventfd, &one, sizeof(one)) == sizeof(one);
    }
    if (done_ == batch) {
        reap();
    }
    iocb request{};
    request.aio_fildes = static_cast<uint32_t>(null_.get());
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = static_cast<uint32_t>(eventfd);
    iocb *list = &request;
    if (::syscall(SYS_io_submit, context_, 1, &list) != 1) {
        return false;
    }
    done_++;
    return true;
}

void Caller::reap() {
    std::array<io_event, batch> results;
    timespec at_once{};
    ::syscall(SYS_io_getevents, context_, 0, results.size(), results.data(), &at_once);
    done_ = 0;
}

CallDescriptor::CallDescriptor(int fd, Caller &caller) : caller_(&caller), fd_(fd) {
    if (fd < 0) {
        return;
    }
    if (is_eventfd(fd)) {
        kind_ = Kind::eventfd;
    } else if (is_unix_socket(fd)) {
        kind_ = Kind::socket;
    }
    if (kind_ == Kind::eventfd && !caller.never_waits()) {
        const int flags = ::fcntl(fd, F_GETFL);
        ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

bool CallDescriptor::call() const {
    switch (kind_) {
        case Kind::eventfd:
            return caller_->signal(fd_);
        case Kind::socket: {
            const uint64_t one = 1;
            return ::send(fd_, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(one);
        }
        case Kind::none:
            break;
    }
    return false;
}

}  // namespace vdpa::engine::relay
