// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/port.hpp"

#include <rte_vhost.h>

#include "engine/vhost/callbacks.hpp"
#include "engine/vhost/registry.hpp"

namespace vdpa::engine::vhost {

namespace {

constexpr const char *module = "vhost";

}  // namespace

Port::Port(const Context &context, schema::PortSpec spec, uint64_t connections, Report report)
    : context_(context),
      spec_(std::move(spec)),
      report_(std::move(report)),
      connections_(connections),
      offer_(offer_of(spec_)) {}

Port::~Port() {
    stop();
}

Expected<std::unique_ptr<Port>> Port::create(const Context &context, const schema::PortSpec &spec,
                                             uint64_t connections, Report report, bool takes_over) {
    std::unique_ptr<Port> port(new Port(context, spec, connections, std::move(report)));
    auto datapath = context.datapaths.make(spec, takes_over);
    if (!datapath) {
        return tl::make_unexpected(datapath.error());
    }
    port->datapath_ = std::move(*datapath);
    port->datapath_->set_observer([port = port.get()] { port->on_datapath_changed(); });
    return port;
}

Expected<void> Port::start(Port *replaced) {
    return spec_.socket.mode == schema::SocketMode::server ? start_server(replaced)
                                                           : start_client(replaced);
}

Expected<void> Port::start_server(Port *replaced) {
    auto workshop = SocketWorkshop::open(spec_.socket.path, context_.kept_folder);
    if (!workshop) {
        return tl::make_unexpected(workshop.error());
    }
    if (auto registered = register_driver(workshop->bind_path()); !registered) {
        return registered;
    }
    if (rte_vhost_driver_start(library_path_.c_str()) != 0) {
        unregister_driver();
        return fail(schema::Reason::socket_failed, "the vhost library could not listen for " +
                                                       spec_.socket.path +
                                                       ": see the engine's log");
    }
    const SocketFile *own = replaced && replaced->file_ ? &*replaced->file_ : nullptr;
    {
        // A front-end that comes as soon as the socket is there waits in our callback until the
        // one before us has let go of the device.
        const std::lock_guard lock(mutex_);
        auto file = workshop->publish(spec_.socket, own);
        if (file) {
            file_ = std::move(*file);
            if (replaced) {
                replaced->stop();
                connections_ = replaced->connections();
            }
            publish();
            context_.event_thread.wake();
            VDPA_LOG(info, module, "%s: listening on %s", name().c_str(),
                     spec_.socket.path.c_str());
            return {};
        }
        fault_ = file.error();
    }
    unregister_driver();
    return tl::make_unexpected(*fault_);
}

Expected<void> Port::start_client(Port *replaced) {
    // The first attempt to connect is part of starting, so whoever used the device or even the
    // path before us must be gone by then; and nothing is left that could fail for a reason of
    // ours.
    if (replaced) {
        replaced->stop();
        connections_ = replaced->connections();
    }
    if (auto registered = register_driver(spec_.socket.path); !registered) {
        return registered;
    }
    if (rte_vhost_driver_start(library_path_.c_str()) != 0) {
        unregister_driver();
        return fail(schema::Reason::socket_failed,
                    "the vhost library could not start to connect to " + spec_.socket.path +
                        ": see the engine's log");
    }
    const std::lock_guard lock(mutex_);
    publish();
    VDPA_LOG(info, module, "%s: connecting to %s", name().c_str(), spec_.socket.path.c_str());
    return {};
}

Expected<void> Port::register_driver(const std::string &library_path) {
    const char *path = library_path.c_str();
    if (!Registry::instance().add(library_path, *this)) {
        return fail(schema::Reason::duplicate_socket,
                    "another port of this engine uses " + spec_.socket.path);
    }
    const uint64_t flags =
        spec_.socket.mode == schema::SocketMode::client ? RTE_VHOST_USER_CLIENT : 0;
    if (rte_vhost_driver_register(path, flags) != 0) {
        Registry::instance().remove(library_path);
        return fail(schema::Reason::socket_failed, "the vhost library takes no further socket (" +
                                                       spec_.socket.path +
                                                       "): see the engine's log");
    }
    library_path_ = library_path;
    // The features stay the library's defaults, of which we answer for a part (before_message): so
    // they can differ from one connection to the next. Setting them would besides turn off the
    // library's knowledge that a network device runs as soon as its first two rings do.
    if (rte_vhost_driver_set_protocol_features(path, datapath_->protocol_features()) != 0 ||
        rte_vhost_driver_callback_register(path, &device_callbacks()) != 0) {
        unregister_driver();
        return fail(schema::Reason::socket_failed,
                    "the vhost library did not take the callbacks for " + spec_.socket.path);
    }
    if (auto attached = datapath_->attach(library_path_); !attached) {
        unregister_driver();
        return attached;
    }
    return {};
}

void Port::unregister_driver() {
    if (library_path_.empty()) {
        return;
    }
    if (datapath_) {
        datapath_->detach(library_path_);
    }
    rte_vhost_driver_unregister(library_path_.c_str());
    context_.event_thread.wake();  // which lets go of what was closed
    Registry::instance().remove(library_path_);
    library_path_.clear();
}

void Port::stop() {
    if (file_) {
        file_->remove();
        file_.reset();
    }
    const bool registered = !library_path_.empty();
    unregister_driver();
    std::unique_ptr<Datapath> datapath;
    {
        const std::lock_guard lock(mutex_);
        // unregister disconnects without destroy_connection.
        forget_connection();
        forget_next_connection();
        datapath = std::move(datapath_);
        if (registered) {
            publish();
        }
    }
    // Which may wait for a thread that is about to report a change.
    datapath.reset();
}

void Port::on_datapath_changed() {
    const std::lock_guard lock(mutex_);
    if (datapath_ && reported_) {
        publish();
    }
}

void Port::forget_connection() {
    if (vid_ >= 0) {
        Registry::instance().clear_connection(vid_, this);
    }
    vid_ = -1;
    socket_ = {};
    features_ = 0;
}

void Port::forget_next_connection() {
    if (next_vid_ >= 0) {
        Registry::instance().clear_connection(next_vid_, this);
    }
    next_vid_ = -1;
    next_socket_ = {};
}

Expected<void> Port::set_attributes(const schema::SocketSpec &socket) {
    return file_ ? file_->set_attributes(socket) : Expected<void>{};
}

Expected<void> Port::set_offer(const Offer &offer) {
    const std::lock_guard lock(mutex_);
    next_offer_.reset();
    if (vid_ >= 0) {
        if (offer != offer_) {
            next_offer_ = offer;
        }
        return {};
    }
    auto switched = switch_offer(offer);
    if (switched) {
        fault_.reset();
        publish();
    }
    return switched;
}

Expected<void> Port::switch_offer(const Offer &offer) {
    auto switched = datapath_->set_offer(offer);
    if (switched) {
        offer_ = offer;
    }
    return switched;
}

Expected<void> Port::check() const {
    if (file_) {
        if (file_->still_ours()) {
            return {};
        }
        return fail(schema::Reason::socket_failed,
                    "the socket " + file_->path() + " was removed or replaced by somebody else");
    }
    {
        const std::lock_guard lock(mutex_);
        if (vid_ >= 0) {
            return {};
        }
    }
    return check_client_path(spec_.socket.path);
}

Expected<void> Port::check_device() {
    // Only the control thread, which this is, ends a datapath.
    if (!datapath_) {
        return {};
    }
    if (auto there = datapath_->check(); !there) {
        return there;
    }
    const std::lock_guard lock(mutex_);
    datapath_->recover();
    publish();
    return {};
}

Expected<void> Port::open_netdev() {
    // Only the control thread, which this is, ends a datapath. The kernel may take its time, which
    // is not to be that of the library's thread.
    auto use = datapath_ ? datapath_->open_netdev() : std::function<void()>();
    if (!use) {
        return tl::make_unexpected(use.error());
    }
    if (*use) {
        const std::lock_guard lock(mutex_);
        (*use)();
    }
    return {};
}

void Port::retry() {
    if (datapath_) {
        datapath_->retry();
    }
}

void Port::reset_stats() {
    const std::lock_guard lock(mutex_);
    if (datapath_) {
        datapath_->reset_stats();
    }
}

std::vector<schema::QueueStats> Port::stats() const {
    const std::lock_guard lock(mutex_);
    return datapath_ ? datapath_->stats() : std::vector<schema::QueueStats>{};
}

uint64_t Port::connections() const {
    const std::lock_guard lock(mutex_);
    return connections_;
}

bool Port::connected() const {
    const std::lock_guard lock(mutex_);
    return vid_ >= 0;
}

void Port::publish() {
    Live live{.connected = vid_ >= 0,
              .queues = datapath_ ? datapath_->enabled_queue_pairs() : 0,
              .features = features_,
              .connections = connections_,
              .offer = offer_,
              .fault = fault_,
              .datapath = datapath_ ? datapath_->status() : DatapathStatus{}};
    if (live != reported_) {
        reported_ = live;
        report_(live);
    }
}

}  // namespace vdpa::engine::vhost
