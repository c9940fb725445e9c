// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
/* Gives a PCI device that has none an eswitch: a devlink instance that answers for its mode and
 * changes it, and nothing else. So what a NIC's driver does in its own time can be seen on a device
 * of which the VFs are real PCI functions.
 *
 * pf: the device's address. set_seconds: for how long a change of the mode keeps the caller and the
 * instance's lock. get_error: errno that who asks for the mode is answered; 0: none.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <net/devlink.h>

static char *pf;
module_param(pf, charp, 0444);
static unsigned int set_seconds;
module_param(set_seconds, uint, 0644);
static unsigned int get_error;
module_param(get_error, uint, 0644);

static struct pci_dev *device;
static struct devlink *instance;
static u16 present_mode = DEVLINK_ESWITCH_MODE_LEGACY;

static int get_mode(struct devlink *devlink, u16 *mode) {
    if (get_error)
        return -(int)get_error;
    *mode = present_mode;
    return 0;
}

static int set_mode(struct devlink *devlink, u16 mode, struct netlink_ext_ack *extack) {
    msleep(set_seconds * 1000);
    present_mode = mode;
    return 0;
}

static const struct devlink_ops ops = {
    .eswitch_mode_get = get_mode,
    .eswitch_mode_set = set_mode,
};

static int __init add(void) {
    unsigned int domain, bus, slot, function;

    if (!pf || sscanf(pf, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
        return -EINVAL;
    device = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
    if (!device)
        return -ENODEV;
    instance = devlink_alloc(&ops, 0, &device->dev);
    if (!instance) {
        pci_dev_put(device);
        return -ENOMEM;
    }
    devlink_register(instance);
    return 0;
}

static void __exit remove(void) {
    devlink_unregister(instance);
    devlink_free(instance);
    pci_dev_put(device);
}

module_init(add);
module_exit(remove);
MODULE_DESCRIPTION("An eswitch for tests, on a PCI device without one");
MODULE_LICENSE("GPL");
