// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/port.hpp"

#include <rte_vhost.h>

#include "engine/vhost/callbacks.hpp"
#include "engine/vhost/registry.hpp"

namespace vdpa::engine::vhost {

namespace {

constexpr const char *module = "vhost";

/* What the library and we can do. BACKEND_REQ is there for User-mode Linux alone, which cannot
 * set up an interrupt without that channel (arch/um/drivers/virtio_uml.c, vu_setup_vq_call_fd);
 * nothing is ever sent over it. Not among them: RARP (sent on behalf of guests that cannot
 * announce themselves after a migration), crypto, host notifiers, postcopy. */
constexpr uint64_t protocol_features =
    bit(ProtocolFeature::mq) | bit(ProtocolFeature::log_shmfd) | bit(ProtocolFeature::reply_ack) |
    bit(ProtocolFeature::net_mtu) | bit(ProtocolFeature::backend_req) |
    bit(ProtocolFeature::config) | bit(ProtocolFeature::status);

Offer offer_of(const schema::PortSpec &spec) {
    return {.max_queues = spec.max_queues, .packed = spec.packed, .offloads = spec.offloads};
}

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
    auto relay = port->attach(spec.max_queues, takes_over);
    if (!relay) {
        return tl::make_unexpected(relay.error());
    }
    port->relay_ = std::move(*relay);
    return port;
}

Expected<std::unique_ptr<relay::Port>> Port::attach(uint32_t max_queues, bool takes_over) const {
    return relay::Port::attach(context_.workers,
                               {.name = spec_.name,
                                .netdev = spec_.device.name,
                                .max_queue_pairs = static_cast<uint16_t>(max_queues),
                                .takes_over = takes_over});
}

Expected<void> Port::start(Port *replaced) {
    return spec_.socket.mode == schema::SocketMode::server ? start_server(replaced)
                                                           : start_client(replaced);
}

Expected<void> Port::start_server(Port *replaced) {
    auto workshop = SocketWorkshop::open(spec_.socket.path);
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
    if (rte_vhost_driver_set_protocol_features(path, protocol_features) != 0 ||
        rte_vhost_driver_callback_register(path, &device_callbacks()) != 0) {
        unregister_driver();
        return fail(schema::Reason::socket_failed,
                    "the vhost library did not take the callbacks for " + spec_.socket.path);
    }
    return {};
}

void Port::unregister_driver() {
    if (library_path_.empty()) {
        return;
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
    const std::lock_guard lock(mutex_);
    // unregister disconnects without destroy_connection.
    forget_connection();
    relay_.reset();
    if (registered) {
        publish();
    }
}

void Port::forget_connection() {
    if (vid_ >= 0) {
        Registry::instance().clear_connection(vid_, this);
    }
    vid_ = -1;
    features_ = 0;
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
    if (offer.max_queues != offer_.max_queues) {
        auto relay = attach(offer.max_queues, relay_ != nullptr);
        if (!relay) {
            return tl::make_unexpected(relay.error());
        }
        relay_ = std::move(*relay);
    }
    offer_ = offer;
    return {};
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

std::vector<relay::QueueStats> Port::stats() const {
    const std::lock_guard lock(mutex_);
    return relay_ ? relay_->stats() : std::vector<relay::QueueStats>{};
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
              .queues = relay_ ? relay_->enabled_queue_pairs() : 0,
              .features = features_,
              .connections = connections_,
              .offer = offer_,
              .fault = fault_};
    if (live != reported_) {
        reported_ = live;
        report_(live);
    }
}

}  // namespace vdpa::engine::vhost
