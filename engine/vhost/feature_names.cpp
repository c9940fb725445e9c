// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/feature_names.hpp"

#include <array>

namespace vdpa::engine::vhost {

namespace {

struct Name {
    unsigned bit;
    const char *name;
};

/* linux/virtio_net.h, linux/virtio_config.h, linux/virtio_ring.h; 26 and 30 are vhost-user's. */
constexpr std::array names = {
    Name{0, "csum"},
    Name{1, "guest_csum"},
    Name{2, "ctrl_guest_offloads"},
    Name{3, "mtu"},
    Name{5, "mac"},
    Name{7, "guest_tso4"},
    Name{8, "guest_tso6"},
    Name{9, "guest_ecn"},
    Name{10, "guest_ufo"},
    Name{11, "host_tso4"},
    Name{12, "host_tso6"},
    Name{13, "host_ecn"},
    Name{14, "host_ufo"},
    Name{15, "mrg_rxbuf"},
    Name{16, "status"},
    Name{17, "ctrl_vq"},
    Name{18, "ctrl_rx"},
    Name{19, "ctrl_vlan"},
    Name{20, "ctrl_rx_extra"},
    Name{21, "guest_announce"},
    Name{22, "mq"},
    Name{23, "ctrl_mac_addr"},
    Name{24, "notify_on_empty"},
    Name{26, "log_all"},
    Name{27, "any_layout"},
    Name{28, "indirect_desc"},
    Name{29, "event_idx"},
    Name{30, "protocol_features"},
    Name{32, "version_1"},
    Name{33, "access_platform"},
    Name{34, "ring_packed"},
    Name{35, "in_order"},
    Name{36, "order_platform"},
    Name{37, "sr_iov"},
    Name{38, "notification_data"},
    Name{40, "ring_reset"},
    Name{56, "host_uso"},
    Name{57, "hash_report"},
    Name{59, "guest_hdrlen"},
    Name{60, "rss"},
    Name{61, "rsc_ext"},
    Name{62, "standby"},
    Name{63, "speed_duplex"},
};

}  // namespace

std::vector<std::string> feature_names(uint64_t features) {
    std::vector<std::string> result;
    auto known = names.begin();
    for (unsigned bit = 0; bit < 64; ++bit) {
        while (known != names.end() && known->bit < bit) {
            ++known;
        }
        if ((features >> bit & 1) == 0) {
            continue;
        }
        const bool named = known != names.end() && known->bit == bit;
        result.push_back(named ? known->name : "bit" + std::to_string(bit));
    }
    return result;
}

}  // namespace vdpa::engine::vhost
