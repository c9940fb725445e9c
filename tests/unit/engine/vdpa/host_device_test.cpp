// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/host_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/engine/vdpa/fake_sysfs.hpp"

namespace vdpa::engine::device {
namespace {

using schema::Reason;
using testing::HasSubstr;

constexpr const char *vf = "0000:43:00.2";

class HostDeviceTest : public testing::Test {
  protected:
    HostDevice device(const std::string &text) const {
        return HostDevice(*parse_device_address(text), sysfs_.path());
    }
    void add_mlx5(const std::string &driver) {
        sysfs_.add_pci(vf, "0x15b3", "0x101e");
        sysfs_.bind("pci", vf, driver);
    }

    test::FakeSysfs sysfs_;
};

TEST_F(HostDeviceTest, OneThatIsNotThereIsMissing) {
    const auto checked = device(vf).check();
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().reason, Reason::device_missing);
    EXPECT_THAT(checked.error().detail, HasSubstr(vf));
    EXPECT_EQ(device(vf).identity(), "");
}

TEST_F(HostDeviceTest, OneThatItsDriverHasCanBeUsed) {
    add_mlx5("mlx5_core");
    EXPECT_TRUE(device(vf).check());
}

TEST_F(HostDeviceTest, AWrongDriverIsNamedWithTheRightOne) {
    add_mlx5("vfio-pci");
    auto checked = device(vf).check();
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().reason, Reason::driver_mismatch);
    EXPECT_EQ(checked.error().detail,
              "0000:43:00.2 is bound to the driver vfio-pci, and DPDK's driver mlx5 works with "
              "mlx5_core alone: echo 0000:43:00.2 > /sys/bus/pci/drivers/mlx5_core/bind");
    sysfs_.bind("pci", vf, "");
    checked = device(vf).check();
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().detail, HasSubstr("is bound to no driver"));

    sysfs_.add_pci("0000:01:00.4", "0x10ee", "0x1100");
    sysfs_.bind("pci", "0000:01:00.4", "sfc");
    checked = device("0000:01:00.4").check();
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().detail, HasSubstr("driverctl set-override 0000:01:00.4 vfio-pci"));
}

TEST_F(HostDeviceTest, EachDriverIsAskedAsItWants) {
    add_mlx5("mlx5_core");
    EXPECT_EQ(device(vf).devargs(), "0000:43:00.2,class=vdpa");
    EXPECT_EQ(device("43:00.2,queues=4").devargs(), "0000:43:00.2,class=vdpa,queues=4");
    EXPECT_EQ(device("43:00.2,class=eth").devargs(), "0000:43:00.2,class=eth");

    sysfs_.add_pci("0000:02:00.1", "0x1af4", "0x1041", "0x8086");
    EXPECT_EQ(device("02:00.1").devargs(), "0000:02:00.1,vdpa=1");
    EXPECT_EQ(device("02:00.1,vdpa=0").devargs(), "0000:02:00.1,vdpa=0");
    sysfs_.add_pci("0000:03:00.1", "0x10ee", "0x1100");
    EXPECT_EQ(device("03:00.1").devargs(), "0000:03:00.1,class=vdpa");

    sysfs_.add("auxiliary", "mlx5_core.sf.4");
    EXPECT_EQ(device("auxiliary:mlx5_core.sf.4").devargs(), "auxiliary:mlx5_core.sf.4,class=vdpa");
    sysfs_.bind("auxiliary", "mlx5_core.sf.4", "mlx5_core.sf");
    EXPECT_TRUE(device("auxiliary:mlx5_core.sf.4").check());

    EXPECT_EQ(device("vdpa_test0,queues=2").devargs(), "vdpa_test0,queues=2");
    EXPECT_TRUE(device("vdpa_test0").check());
}

TEST_F(HostDeviceTest, ADeviceOfAnotherVendorIsLeftToDpdk) {
    // A plain virtio device is not Intel's accelerator.
    sysfs_.add_pci("0000:04:00.0", "0x1af4", "0x1041", "0x1af4");
    EXPECT_TRUE(device("04:00.0").check());
    EXPECT_EQ(device("04:00.0,x=1").devargs(), "0000:04:00.0,x=1");
}

TEST_F(HostDeviceTest, TheIdentityStaysWhileNothingHappens) {
    add_mlx5("mlx5_core");
    sysfs_.make_rdma_device(vf, "mlx5_2");
    const std::string before = device(vf).identity();
    EXPECT_NE(before, "");
    EXPECT_EQ(device(vf).identity(), before);
}

TEST_F(HostDeviceTest, TheIdentityTellsAResetAndAnotherDriver) {
    add_mlx5("mlx5_core");
    sysfs_.make_rdma_device(vf, "mlx5_2");
    const std::string before = device(vf).identity();
    sysfs_.make_rdma_device(vf, "mlx5_2");
    const std::string reset = device(vf).identity();
    EXPECT_NE(reset, before);
    sysfs_.bind("pci", vf, "");
    EXPECT_NE(device(vf).identity(), reset);
    sysfs_.remove("pci", vf);
    EXPECT_EQ(device(vf).identity(), "");
}

}  // namespace
}  // namespace vdpa::engine::device
