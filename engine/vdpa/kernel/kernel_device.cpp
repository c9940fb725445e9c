// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/kernel_device.hpp"

#include <dev_driver.h>
#include <rte_vdpa.h>
#include <rte_vhost.h>
#include <sys/stat.h>
#include <vdpa_driver.h>

#include <algorithm>
#include <cerrno>

#include "engine/vdpa/kernel/features.hpp"
#include "engine/vdpa/kernel/node_watch.hpp"
#include "engine/vdpa/kernel/vhost_session.hpp"

namespace vdpa::engine::kernel {

/* What the library keeps a pointer to, from which we find ourselves. Of a device that is on no bus
 * it looks at the name only (lib/vhost/vdpa.c). */
struct KernelDevice::Registration : rte_device {
    Registration(const std::string &path, KernelDevice &device)
        : rte_device{}, path_(path), owner(device) {
        name = path_.c_str();
        numa_node = SOCKET_ID_ANY;
    }

  private:
    const std::string path_;

  public:
    KernelDevice &owner;
};

/* What the event thread has given to the device. */
struct Configured {
    int vid;
    SessionBase base;
    uint32_t pairs = 0;
};

/* The library's view of the driver: struct rte_vdpa_dev_ops. Those with a `vid` are called in the
 * event thread, or on the control thread within rte_vhost_driver_unregister(). */
struct Operations {
    static KernelDevice &device_of(rte_vdpa_device *handle) {
        return static_cast<KernelDevice::Registration *>(handle->device)->owner;
    }

    static KernelDevice *device_of(int vid) {
        rte_vdpa_device *const handle = rte_vhost_get_vdpa_device(vid);
        return handle ? &device_of(handle) : nullptr;
    }

    static int get_queue_num(rte_vdpa_device *handle, uint32_t *pairs) {
        *pairs = device_of(handle).info().queue_pairs;
        return 0;
    }

    static int get_features(rte_vdpa_device *handle, uint64_t *features) {
        *features = offered_features(device_of(handle).info());
        return 0;
    }

    static int get_protocol_features(rte_vdpa_device *, uint64_t *features) {
        *features = offered_protocol_features();
        return 0;
    }

    static int get_dev_type(rte_vdpa_device *, uint32_t *type) {
        *type = RTE_VHOST_VDPA_DEVICE_TYPE_NET;
        return 0;
    }

    /* What fails is in state(), and the library is told nothing of it: it would call this again for
     * each message of the front-end. */
    static int dev_conf(int vid) {
        KernelDevice *const device = device_of(vid);
        if (!device) {
            return -ENODEV;
        }
        DeviceThread &thread = *device->thread_;
        auto base = read_session_base(vid, thread.info(), thread.host_memory());
        if (!base) {
            thread.refuse(base.error());
            return 0;
        }
        auto configured = std::make_unique<Configured>(Configured{vid, std::move(*base)});
        Session session;
        session.features = configured->base.features;
        session.memory = configured->base.memory;
        for (; configured->pairs < thread.info().queue_pairs; ++configured->pairs) {
            auto pair = read_pair(vid, thread.info(), configured->base, configured->pairs);
            if (!pair) {
                thread.refuse(pair.error());
                return 0;
            }
            if (!*pair) {
                break;
            }
            session.rings.push_back(std::move((*pair)->first));
            session.rings.push_back(std::move((*pair)->second));
        }
        device->configured_ = std::move(configured);
        thread.configure(std::move(session));
        return 0;
    }

    static int dev_close(int vid) {
        if (KernelDevice *const device = device_of(vid)) {
            device->configured_.reset();
            for (const StoppedRing &ring : device->thread_->close()) {
                write_position(vid, ring.index, ring.position);
            }
        }
        return 0;
    }

    static int dev_cleanup(int vid) {
        if (KernelDevice *const device = device_of(vid)) {
            device->configured_.reset();
            device->thread_->forget_front_end();
        }
        return 0;
    }

    static int set_vring_state(int vid, int ring, int state) {
        KernelDevice *const device = device_of(vid);
        if (!device || ring < 0) {
            return -ENODEV;
        }
        const auto index = static_cast<uint32_t>(ring);
        if (index >= 2 * device->info().queue_pairs) {
            return 0;
        }
        device->thread_->enable_ring(index, state != 0);
        // It may have got other eventfds.
        if (const Configured *const now = device->configured_.get();
            now && state != 0 && index < 2 * now->pairs) {
            if (auto read = read_ring(vid, device->info(), now->base, index)) {
                device->thread_->set_ring(std::move(*read));
            } else {
                device->refuse(read.error());
            }
        }
        return 0;
    }

    /* Features change under a running device for live migration only, which is not offered. */
    static int set_features(int) { return 0; }

    static int get_config(int vid, uint8_t *bytes, uint32_t size) {
        const KernelDevice *const device = device_of(vid);
        if (!device) {
            return -ENODEV;
        }
        const auto space = device->state().config.space;
        for (uint32_t i = 0; i < size; ++i) {
            bytes[i] = i < space.size() ? space[i] : uint8_t{0};
        }
        return 0;
    }

    static rte_vdpa_dev_ops *table() {
        static rte_vdpa_dev_ops operations = [] {
            rte_vdpa_dev_ops ops{};
            ops.get_queue_num = get_queue_num;
            ops.get_features = get_features;
            ops.get_protocol_features = get_protocol_features;
            ops.dev_conf = dev_conf;
            ops.dev_close = dev_close;
            ops.dev_cleanup = dev_cleanup;
            ops.set_vring_state = set_vring_state;
            ops.set_features = set_features;
            ops.get_config = get_config;
            ops.get_dev_type = get_dev_type;
            return ops;
        }();
        return &operations;
    }
};

KernelDevice::KernelDevice(std::unique_ptr<DeviceThread> thread) : thread_(std::move(thread)) {}

Expected<std::unique_ptr<KernelDevice>> KernelDevice::open(const std::string &path, Report report) {
    auto vhost_vdpa = open_device(host_system(), path);
    if (!vhost_vdpa) {
        return tl::make_unexpected(vhost_vdpa.error());
    }
    struct stat node {};
    if (::fstat(vhost_vdpa->fd(), &node) != 0 || !S_ISCHR(node.st_mode)) {
        return fail(schema::Reason::device_failed, path + " is no character device");
    }
    auto info = probe(*vhost_vdpa);
    if (!info) {
        return tl::make_unexpected(info.error());
    }
    auto thread = DeviceThread::create(std::move(*vhost_vdpa), std::move(*info), std::move(report));
    if (!thread) {
        return tl::make_unexpected(thread.error());
    }
    std::unique_ptr<KernelDevice> device(new KernelDevice(std::move(*thread)));
    auto watch =
        NodeWatch::start(path, node, [thread = device->thread_.get()] { thread->node_removed(); });
    if (!watch) {
        return tl::make_unexpected(watch.error());
    }
    device->watch_ = std::move(*watch);
    device->registration_ = std::make_unique<Registration>(path, *device);
    device->handle_ = rte_vdpa_register_device(device->registration_.get(), Operations::table());
    if (!device->handle_) {
        return fail(schema::Reason::device_failed,
                    path + ": the vhost library does not take the device: see the engine's log");
    }
    return device;
}

KernelDevice::~KernelDevice() {
    if (handle_) {
        rte_vdpa_unregister_device(handle_);
    }
}

void KernelDevice::refuse(const Error &why) {
    configured_.reset();
    thread_->refuse(why);
}

void KernelDevice::after_message(int vid) {
    if (!configured_ || configured_->vid != vid) {
        return;
    }
    while (configured_->pairs < info().queue_pairs) {
        auto pair = read_pair(vid, info(), configured_->base, configured_->pairs);
        if (!pair) {
            refuse(pair.error());
            return;
        }
        if (!*pair) {
            return;
        }
        ++configured_->pairs;
        thread_->set_ring(std::move((*pair)->first));
        thread_->set_ring(std::move((*pair)->second));
    }
}

}  // namespace vdpa::engine::kernel
