// SPDX-License-Identifier: Apache-2.0
// The linker (--wrap) leads the calls of DPDK that open and close devices and sockets here: they
// are written down, and can be made to fail. A device on PCI is played by one of the test driver.
#include <rte_dev.h>
#include <rte_vdpa.h>
#include <rte_vhost.h>

#include <cstring>
#include <string>

#include "tests/device/test_device.hpp"

using vdpa::test::note_call;

namespace {

constexpr const char *stand_in = "vdpa_test_pci";

bool is_pci(const char *name) {
    return std::strncmp(name, "0000:", 5) == 0;
}

}  // namespace

extern "C" {

int __real_rte_dev_probe(const char *devargs);
int __wrap_rte_dev_probe(const char *devargs) {
    if (const int result = note_call("rte_dev_probe"); result != 0) {
        return result;
    }
    return __real_rte_dev_probe(is_pci(devargs) ? stand_in : devargs);
}

int __real_rte_dev_remove(rte_device *device);
int __wrap_rte_dev_remove(rte_device *device) {
    const int result = note_call("rte_dev_remove");
    return result != 0 ? result : __real_rte_dev_remove(device);
}

rte_vdpa_device *__real_rte_vdpa_find_device_by_name(const char *name);
rte_vdpa_device *__wrap_rte_vdpa_find_device_by_name(const char *name) {
    if (note_call("rte_vdpa_find_device_by_name") != 0) {
        return nullptr;
    }
    return __real_rte_vdpa_find_device_by_name(is_pci(name) ? stand_in : name);
}

int __real_rte_vhost_driver_register(const char *path, uint64_t flags);
int __wrap_rte_vhost_driver_register(const char *path, uint64_t flags) {
    const int result = note_call("rte_vhost_driver_register");
    return result != 0 ? result : __real_rte_vhost_driver_register(path, flags);
}

int __real_rte_vhost_driver_callback_register(const char *path, const rte_vhost_device_ops *ops);
int __wrap_rte_vhost_driver_callback_register(const char *path, const rte_vhost_device_ops *ops) {
    const int result = note_call("rte_vhost_driver_callback_register");
    return result != 0 ? result : __real_rte_vhost_driver_callback_register(path, ops);
}

int __real_rte_vhost_driver_attach_vdpa_device(const char *path, rte_vdpa_device *device);
int __wrap_rte_vhost_driver_attach_vdpa_device(const char *path, rte_vdpa_device *device) {
    const int result = note_call("rte_vhost_driver_attach_vdpa_device");
    return result != 0 ? result : __real_rte_vhost_driver_attach_vdpa_device(path, device);
}

int __real_rte_vhost_driver_detach_vdpa_device(const char *path);
int __wrap_rte_vhost_driver_detach_vdpa_device(const char *path) {
    note_call("rte_vhost_driver_detach_vdpa_device");
    return __real_rte_vhost_driver_detach_vdpa_device(path);
}

int __real_rte_vhost_driver_start(const char *path);
int __wrap_rte_vhost_driver_start(const char *path) {
    const int result = note_call("rte_vhost_driver_start");
    return result != 0 ? result : __real_rte_vhost_driver_start(path);
}

int __real_rte_vhost_driver_unregister(const char *path);
int __wrap_rte_vhost_driver_unregister(const char *path) {
    note_call("rte_vhost_driver_unregister");
    return __real_rte_vhost_driver_unregister(path);
}

}  // extern "C"
