// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The kernel's virtio headers, in C++: virtio_net.h has a member named class, and virtio_ring.h
 * inline functions that are C only. */
#define VIRTIO_RING_NO_LEGACY
#define class virtio_class
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#undef class
