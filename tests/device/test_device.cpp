// SPDX-License-Identifier: Apache-2.0
#define ALLOW_EXPERIMENTAL_API  // rte_dev_event_callback_process
#include "tests/device/test_device.hpp"

#include <bus_vdev_driver.h>
#include <rte_dev.h>
#include <rte_kvargs.h>
#include <rte_vhost.h>
#include <sys/mman.h>
#include <vdpa_driver.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "schema/support/unique_fd.hpp"
#include "tests/device/mover.hpp"

namespace vdpa::test {

namespace {

constexpr uint64_t bits(std::initializer_list<unsigned> numbers) {
    uint64_t value = 0;
    for (const unsigned number : numbers) {
        value |= uint64_t{1} << number;
    }
    return value;
}

/* By number, as in virtio 1.2, 5.1.3 and 6: checksums, MTU, MAC, TSO, mergeable buffers, status,
 * control queue, announcements, multi-queue, log of dirty pages, indirect descriptors, event
 * indices, protocol features, version 1, packed rings, order of platform. */
constexpr uint64_t usual_features =
    bits({0, 1, 3, 5, 11, 12, 15, 16, 17, 21, 22, 26, 28, 29, 30, 32, 34, 36});

/* Multi-queue, log, MTU, back-end channel with descriptors, config, host notifiers, status. */
constexpr uint64_t usual_protocol = bits({0, 1, 4, 5, 9, 10, 11, 16});

struct Device {
    std::string name;
    uint32_t pairs = 2;
    uint64_t features = 0;
    uint64_t protocol = 0;
    std::string stats = "names";
    bool moves = false;
    bool has_doorbells = false;
    UniqueFd doorbells;
    rte_vdpa_dev_ops operations{};
    rte_vdpa_device *handle = nullptr;
    std::unique_ptr<Mover> mover;
    std::vector<uint64_t> counters;  // a value a ring
};

struct World {
    std::mutex mutex;
    std::vector<std::string> calls;
    std::map<std::string, std::pair<unsigned, int>> failures;
    std::map<std::string, unsigned> delays;
    std::set<std::string> absent;
    std::map<std::string, std::unique_ptr<Device>> devices;
};

World &world() {
    static auto *const instance = new World;  // drivers are called until the process ends
    return *instance;
}

/* Writes a call down; its result, 0 unless it was told to fail. */
int asked(const std::string &call, const std::string &arguments = "") {
    unsigned delay = 0;
    int result = 0;
    {
        World &all = world();
        const std::lock_guard lock(all.mutex);
        all.calls.push_back(arguments.empty() ? call : call + " " + arguments);
        if (const auto found = all.delays.find(call); found != all.delays.end()) {
            delay = found->second;
        }
        if (const auto found = all.failures.find(call); found != all.failures.end()) {
            result = found->second.second;
            if (--found->second.first == 0) {
                all.failures.erase(found);
            }
        }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    return result;
}

Device &device_of(const rte_vdpa_device *handle) {
    const std::lock_guard lock(world().mutex);
    return *world().devices.at(handle->device->name);
}

Device &device_of(int vid) {
    return device_of(rte_vhost_get_vdpa_device(vid));
}

int get_queue_num(rte_vdpa_device *handle, uint32_t *pairs) {
    *pairs = device_of(handle).pairs;
    return asked("get_queue_num");
}

int get_features(rte_vdpa_device *handle, uint64_t *features) {
    *features = device_of(handle).features;
    return asked("get_features");
}

int get_protocol_features(rte_vdpa_device *handle, uint64_t *features) {
    *features = device_of(handle).protocol;
    return asked("get_protocol_features");
}

int dev_conf(int vid) {
    const int result = asked("dev_conf");
    Device &device = device_of(vid);
    if (result == 0 && device.has_doorbells) {
        rte_vhost_host_notifier_ctrl(vid, RTE_VHOST_QUEUE_ALL, true);
    }
    if (result == 0 && device.moves) {
        device.mover = std::make_unique<Mover>(vid, device.pairs);
    }
    return result;
}

int dev_close(int vid) {
    device_of(vid).mover.reset();
    return asked("dev_close");
}

int dev_cleanup(int /*vid*/) {
    return asked("dev_cleanup");
}

int set_vring_state(int vid, int ring, int on) {
    Device &device = device_of(vid);
    if (on != 0 && static_cast<size_t>(ring) < device.counters.size()) {
        ++device.counters[static_cast<size_t>(ring)];
    }
    return asked("set_vring_state", std::to_string(ring) + " " + std::to_string(on));
}

int set_features(int /*vid*/) {
    return asked("set_features");
}

constexpr std::array counter_names = {"received_descriptors", "completed_descriptors",
                                      "bad descriptor errors"};

int get_stats_names(rte_vdpa_device *, rte_vdpa_stat_name *names, unsigned size) {
    if (names) {
        for (unsigned i = 0; i < std::min<size_t>(size, counter_names.size()); ++i) {
            std::snprintf(names[i].name, sizeof(names[i].name), "%s", counter_names[i]);
        }
    }
    return static_cast<int>(counter_names.size());
}

int get_stats(rte_vdpa_device *handle, int ring, rte_vdpa_stat *stats, unsigned size) {
    const Device &device = device_of(handle);
    if (ring != 0 && device.stats != "names") {
        return device.stats == "einval" ? -EINVAL : device.stats == "enotsup" ? -ENOTSUP : 0;
    }
    const auto count = static_cast<unsigned>(std::min<size_t>(size, counter_names.size()));
    for (unsigned i = 0; i < count; ++i) {
        stats[i] = {.id = i, .value = i == 0 ? device.counters[static_cast<size_t>(ring)] : i};
    }
    return static_cast<int>(count);
}

int reset_stats(rte_vdpa_device *handle, int ring) {
    Device &device = device_of(handle);
    device.counters[static_cast<size_t>(ring)] = 0;
    return asked("reset_stats", std::to_string(ring));
}

int get_device_fd(int vid) {
    return device_of(vid).doorbells.get();
}

int get_notify_area(int /*vid*/, int ring, uint64_t *offset, uint64_t *size) {
    constexpr uint64_t page = 0x1000;
    *offset = static_cast<uint64_t>(ring) * page;
    *size = page;
    return asked("get_notify_area");
}

/* struct virtio_net_config: MAC, link up, pairs, MTU. */
int get_config(int vid, uint8_t *config, uint32_t size) {
    const std::array<uint8_t, 12> space = {
        0x02, 0, 0, 0, 0, 0x07, 1, 0, static_cast<uint8_t>(device_of(vid).pairs), 0, 0xdc, 0x05};
    std::memset(config, 0, size);
    std::memcpy(config, space.data(), std::min<size_t>(size, space.size()));
    return asked("get_config");
}

int take_argument(const char *key, const char *value, void *opaque) {
    Device &device = *static_cast<Device *>(opaque);
    const std::string name = key;
    if (name == "queues") {
        device.pairs = static_cast<uint32_t>(std::strtoul(value, nullptr, 10));
    } else if (name == "features") {
        device.features = std::strtoull(value, nullptr, 16);
    } else if (name == "protocol") {
        device.protocol = std::strtoull(value, nullptr, 16);
    } else if (name == "stats") {
        device.stats = value;
    } else if (name == "doorbell") {
        device.has_doorbells = std::strcmp(value, "1") == 0;
    } else if (name == "move") {
        device.moves = std::strcmp(value, "1") == 0;
    } else if (name == "control") {
        serve_control(value);
    }
    return 0;
}

int probe(rte_vdev_device *vdev) {
    auto device = std::make_unique<Device>();
    device->name = rte_vdev_device_name(vdev);
    device->features = usual_features;
    device->protocol = usual_protocol;
    if (rte_kvargs *arguments = rte_kvargs_parse(rte_vdev_device_args(vdev), nullptr)) {
        rte_kvargs_process(arguments, nullptr, take_argument, device.get());
        rte_kvargs_free(arguments);
    }
    if (const int result = asked("probe", device->name); result != 0) {
        return result;
    }
    {
        const std::lock_guard lock(world().mutex);
        if (world().absent.contains(device->name)) {
            return -ENODEV;
        }
    }
    device->counters.resize(size_t{2} * device->pairs);
    rte_vdpa_dev_ops &operations = device->operations;
    operations.get_queue_num = get_queue_num;
    operations.get_features = get_features;
    operations.get_protocol_features = get_protocol_features;
    operations.dev_conf = dev_conf;
    operations.dev_close = dev_close;
    operations.dev_cleanup = dev_cleanup;
    operations.set_vring_state = set_vring_state;
    operations.set_features = set_features;
    operations.get_config = get_config;
    if (device->has_doorbells) {
        device->doorbells.reset(::memfd_create("doorbells", MFD_CLOEXEC));
        operations.get_vfio_device_fd = get_device_fd;
        operations.get_notify_area = get_notify_area;
    }
    if (device->stats != "none") {
        operations.get_stats_names = get_stats_names;
        operations.get_stats = get_stats;
        operations.reset_stats = reset_stats;
    }
    device->handle = rte_vdpa_register_device(&vdev->device, &operations);
    if (!device->handle) {
        return -ENOMEM;
    }
    const std::lock_guard lock(world().mutex);
    world().devices[device->name] = std::move(device);
    return 0;
}

int remove(rte_vdev_device *vdev) {
    const std::string name = rte_vdev_device_name(vdev);
    if (const int result = asked("remove", name); result != 0) {
        return result;
    }
    const std::lock_guard lock(world().mutex);
    const auto found = world().devices.find(name);
    if (found != world().devices.end()) {
        // What stood in front of the operations has to be gone by now.
        if (found->second->handle->ops != &found->second->operations) {
            world().calls.emplace_back("remove found foreign operations");
        }
        rte_vdpa_unregister_device(found->second->handle);
        world().devices.erase(found);
    }
    return 0;
}

rte_vdev_driver driver = [] {
    rte_vdev_driver made{};
    made.probe = probe;
    made.remove = remove;
    return made;
}();

}  // namespace

RTE_PMD_REGISTER_VDEV(vdpa_test, driver);

int note_call(const std::string &call) {
    return asked(call);
}

std::vector<std::string> take_calls() {
    const std::lock_guard lock(world().mutex);
    std::vector<std::string> calls;
    for (std::string &call : std::exchange(world().calls, {})) {
        if (!call.starts_with("get_")) {
            calls.push_back(std::move(call));
        }
    }
    return calls;
}

void fail_call(const std::string &call, unsigned count, int result) {
    const std::lock_guard lock(world().mutex);
    world().failures[call] = {count, result};
}

void slow_call(const std::string &call, unsigned milliseconds) {
    const std::lock_guard lock(world().mutex);
    world().delays[call] = milliseconds;
}

void remove_device(const std::string &name) {
    {
        const std::lock_guard lock(world().mutex);
        world().absent.insert(name);
    }
    rte_dev_event_callback_process(name.c_str(), RTE_DEV_EVENT_REMOVE);
}

void return_device(const std::string &name) {
    {
        const std::lock_guard lock(world().mutex);
        world().absent.erase(name);
    }
    rte_dev_event_callback_process(name.c_str(), RTE_DEV_EVENT_ADD);
}

}  // namespace vdpa::test
