// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/unit/engine/temporary_folder.hpp"

namespace vdpa::test {

/* A folder that looks as /sys does where a device is. */
class FakeSysfs {
  public:
    std::string path() const { return folder_.path(); }

    void add(const std::string &bus, const std::string &name) {
        const auto folder = device(bus, name);
        std::filesystem::create_directories(folder);
        write(folder / "uevent", "");
    }
    void add_pci(const std::string &name, const std::string &vendor, const std::string &id,
                 const std::string &subsystem_vendor = "0x0000") {
        add("pci", name);
        const auto folder = device("pci", name);
        write(folder / "vendor", vendor + "\n");
        write(folder / "device", id + "\n");
        write(folder / "subsystem_vendor", subsystem_vendor + "\n");
    }
    void remove(const std::string &bus, const std::string &name) {
        std::filesystem::remove_all(device(bus, name));
    }
    /* As a driver that takes the device; an empty one lets go of it. */
    void bind(const std::string &bus, const std::string &name, const std::string &driver) {
        const auto link = device(bus, name) / "driver";
        std::filesystem::remove(link);
        if (!driver.empty()) {
            std::filesystem::create_directories(root() / "bus" / bus / "drivers" / driver);
            std::filesystem::create_symlink("../../drivers/" + driver, link);
        }
    }
    /* As mlx5_core, which makes the RDMA device anew when it recovers from an error of the NIC. */
    void make_rdma_device(const std::string &name, const std::string &rdma) {
        const auto folder = device("pci", name) / "infiniband" / rdma;
        if (std::filesystem::exists(folder)) {
            // So that the new one cannot get the number of the old one.
            std::filesystem::rename(folder, root() / ("old." + std::to_string(olds_++)));
        }
        std::filesystem::create_directories(folder);
    }

  private:
    std::filesystem::path root() const { return folder_.path(); }
    std::filesystem::path device(const std::string &bus, const std::string &name) const {
        return root() / "bus" / bus / "devices" / name;
    }
    static void write(const std::filesystem::path &file, const std::string &text) {
        std::ofstream(file) << text;
    }

    TemporaryFolder folder_;
    int olds_ = 0;
};

}  // namespace vdpa::test
