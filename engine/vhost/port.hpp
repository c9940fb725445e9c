// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/log.hpp"
#include "engine/vhost/datapath.hpp"
#include "engine/vhost/event_thread.hpp"
#include "engine/vhost/front_end_socket.hpp"
#include "engine/vhost/live.hpp"
#include "engine/vhost/message.hpp"
#include "engine/vhost/socket_file.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::vhost {

/* One registration with the vhost library, that is, one socket, and the datapath behind it.
 *
 * Threads: what is not said to be for others is for the DPDK control thread. The library calls
 * us from its event thread, from its reconnecting thread, and from within rte_vhost_driver_start()
 * and _unregister() on the control thread. `mutex_` is held in its callbacks, and on the control
 * thread never while the library is called for this port. */
class Port {
  public:
    struct Context {
        DatapathMaker &datapaths;
        EventThread &event_thread;
        KeptFolder *kept_folder = nullptr;  // where sockets are made; none: each in one of its own
    };
    /* Gets every change, from any thread, in order; must neither block nor call back. Nothing is
     * reported before start() succeeded. */
    using Report = std::function<void(const Live &)>;

    /* `connections`: where to start counting. `takes_over`: another Port has the device now.
     * Errors: those of DatapathMaker::make(). */
    static Expected<std::unique_ptr<Port>> create(const Context &context,
                                                  const schema::PortSpec &spec,
                                                  uint64_t connections, Report report,
                                                  bool takes_over = false);
    /* As stop(). */
    ~Port();
    Port(const Port &) = delete;
    Port &operator=(const Port &) = delete;

    /* Serves the socket: makes it and listens, or begins to connect. `replaced` is what served the
     * port until now: it is stopped, but only when nothing can fail any more, and no front-end can
     * connect to this one before it is. Errors: socket-*; then `replaced` serves on. */
    Expected<void> start(Port *replaced);
    /* Ends the socket, disconnects the front-end; no callback comes any more afterwards. */
    void stop();

    /* Changes owner and permissions of the socket in place. Error: socket-failed. */
    Expected<void> set_attributes(const schema::SocketSpec &socket);
    /* Offers `offer` from now on, or, while a front-end is connected, from when it disconnects.
     * Errors: those of Datapath::set_offer(); then the offer stays as it was. */
    Expected<void> set_offer(const Offer &offer);
    /* Whether a front-end can reach us: the socket file is there, or may be connected to. */
    Expected<void> check() const;

    /* Whether the device is there and as it was; see Datapath::check(). */
    Expected<void> check_device();
    /* See Datapath::open_netdev(). */
    Expected<void> open_netdev();
    /* Another attempt at what failed, now. */
    void retry();

    std::vector<schema::QueueStats> stats() const;
    void reset_stats();
    uint64_t connections() const;
    bool connected() const;
    const std::string &name() const { return spec_.name; }  // any thread

    /* The library's callbacks; see rte_vhost.h, struct rte_vhost_device_ops. */
    int on_new_connection(int vid, const char *library_path);
    void on_destroy_connection(int vid);
    int on_new_device(int vid);
    void on_destroy_device(int vid);
    void on_vring_state(int vid, uint16_t ring, bool enabled);
    rte_vhost_msg_result before_message(int vid, Message &message);
    rte_vhost_msg_result after_message(int vid, const Message &message);
    /* Any thread: see Datapath::Observer. */
    void on_datapath_changed();

    /* To be called when MemoryGuard says that the connection may have lost memory: ends it, if it
     * is this port's and has. */
    void on_memory_lost(int vid);

  private:
    Port(const Context &context, schema::PortSpec spec, uint64_t connections, Report report);

    Expected<void> start_server(Port *replaced);
    Expected<void> start_client(Port *replaced);
    Expected<void> register_driver(const std::string &library_path);
    void unregister_driver();
    Expected<void> switch_offer(const Offer &offer);
    rte_vhost_msg_result reject(Message &message, const char *why);
    rte_vhost_msg_result get_config(int vid, Message &message) const;
    void publish();
    void begin_connection(int vid, FrontEndSocket socket);
    void forget_connection();
    void forget_next_connection();
    void end_connection();
    void refuse_early();

    const Context context_;
    const schema::PortSpec spec_;
    const Report report_;
    std::string library_path_;  // empty: not registered
    std::optional<SocketFile> file_;

    mutable std::mutex mutex_;
    std::unique_ptr<Datapath> datapath_;  // none: stopped
    int vid_ = -1;
    FrontEndSocket socket_;
    int next_vid_ = -1;  // waits until the library has said that vid_ has gone
    FrontEndSocket next_socket_;
    bool memory_lost_ = false;  // by this connection, or the last
    uint64_t connections_ = 0;
    uint64_t features_ = 0;
    uint64_t protocol_features_ = 0;  // as the front-end set them
    Offer offer_;
    std::optional<Offer> next_offer_;
    std::optional<Error> fault_;
    std::optional<Live> reported_;
    log::RateLimit connect_limit_;
    log::RateLimit refuse_limit_;
};

}  // namespace vdpa::engine::vhost
