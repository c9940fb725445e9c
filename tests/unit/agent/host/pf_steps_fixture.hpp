// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/pf_service.hpp"

namespace vdpa::agent::host {

inline const Handle pf0{"pci", "0000:43:00.0"};

/* A machine with one PF that does what it is told. */
class PfStepsTest : public testing::Test {
  protected:
    PfStepsTest() {
        Pf pf;
        pf.handle = pf0;
        pf.driver = "mlx5_core";
        pf.total_vfs = 8;
        pf.eswitch = Pf::Eswitch::legacy;
        pf.uplinks = {{.ifindex = 3, .netdev = "enp67s0f0np0", .up = false}};
        inventory.pfs.push_back(pf);
    }
    Pf &pf() { return inventory.pfs.front(); }
    static Handle vf_device(uint32_t number) {
        return {"pci", "0000:43:00." + std::to_string(number + 1)};
    }

    void make_vfs(uint32_t count) {
        pf().num_vfs = count;
        pf().functions.clear();
        for (uint32_t number = 0; number < count; number++) {
            Function function;
            function.id = {.pf = pf0,
                           .controller = {},
                           .pf_number = 0,
                           .flavour = Flavour::vf,
                           .number = number};
            function.device = vf_device(number);
            function.driver = vf_driver;
            function.netdevs = {"vf" + std::to_string(number)};
            pf().functions.push_back(function);
        }
    }
    Function *function(const Handle &device) {
        for (Function &candidate : pf().functions) {
            if (candidate.device == device) {
                return &candidate;
            }
        }
        return nullptr;
    }

    Expected<std::optional<PfStep>> next() { return next_step(inventory, spec, used_by, record); }
    Error refusal() {
        const auto step = next();
        EXPECT_FALSE(step);
        return step ? Error{} : step.error();
    }

    void carry_out(const PfStep &step) {
        switch (step.kind) {
            case PfStep::Kind::set_num_vfs:
                make_vfs(step.num_vfs);
                record.made[pf0] = step.num_vfs;
                break;
            case PfStep::Kind::unbind_vf:
                record.unbound[step.vf] = function(step.vf)->driver;
                function(step.vf)->driver.clear();
                function(step.vf)->netdevs.clear();
                break;
            case PfStep::Kind::set_switchdev:
                pf().eswitch = Pf::Eswitch::switchdev;
                break;
            case PfStep::Kind::bind_vf:
                if (function(step.vf)->driver.empty()) {
                    function(step.vf)->driver = step.driver;
                }
                record.unbound.erase(step.vf);
                break;
            case PfStep::Kind::forget_vf:
                EXPECT_FALSE(function(step.vf));
                record.unbound.erase(step.vf);
                break;
            case PfStep::Kind::set_uplink_up:
                for (Pf::Uplink &uplink : pf().uplinks) {
                    uplink.up = uplink.up || uplink.ifindex == step.ifindex;
                }
                break;
            case PfStep::Kind::end:
                record.made.erase(pf0);
                break;
        }
    }
    static std::string text(const PfStep &step) {
        switch (step.kind) {
            case PfStep::Kind::set_num_vfs:
                return "vfs " + std::to_string(step.num_vfs);
            case PfStep::Kind::unbind_vf:
                return "unbind " + step.vf.device.substr(8);
            case PfStep::Kind::set_switchdev:
                return "switchdev";
            case PfStep::Kind::bind_vf:
                return "bind " + step.vf.device.substr(8) + " " + step.driver;
            case PfStep::Kind::forget_vf:
                return "forget " + step.vf.device.substr(8);
            case PfStep::Kind::end:
                return "end";
            default:
                return "up " + std::to_string(step.ifindex);
        }
    }
    /* The steps up to the end or the error. */
    std::vector<std::string> all_steps() {
        std::vector<std::string> steps;
        for (auto step = next(); step && *step; step = next()) {
            EXPECT_EQ((*step)->pf, pf0);
            steps.push_back(text(**step));
            if (steps.size() > 50) {
                ADD_FAILURE() << "no end of it";
                break;
            }
            carry_out(**step);
        }
        return steps;
    }

    Inventory inventory;
    PfSpec spec{pf0, 2};
    std::vector<std::string> used_by;
    PfRecord record;
    std::string vf_driver = "mlx5_core";
};

using Steps = std::vector<std::string>;

}  // namespace vdpa::agent::host
