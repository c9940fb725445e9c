// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/device_request.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace vdpa::agent::host {

namespace {

using schema::Reason;

/* Names of devices are short: of a bus at most 20 bytes (BUS_ID_SIZE once was), of mlx5's
 * subfunctions some 20. */
constexpr size_t max_handle_part = 64;
constexpr size_t max_arguments = 1024;
/* The kernel takes any string. */
constexpr size_t max_vdpa_name = 127;
/* Minor numbers of a character device have 20 bits. */
constexpr uint32_t max_minor = 0xfffff;

std::string excerpt(std::string_view value) {
    return std::string(value.substr(0, 200));
}

bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Without what means something to devlink, DPDK or a path. */
bool is_name(std::string_view text, size_t max_length) {
    return !text.empty() && text.size() <= max_length && text != "." && text != ".." &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_alphanumeric(c) || c == '.' || c == '_' || c == '-' || c == ':';
           });
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

/* Takes a prefix off. */
bool skip(std::string_view &text, std::string_view prefix) {
    if (!text.starts_with(prefix)) {
        return false;
    }
    text.remove_prefix(prefix.size());
    return true;
}

/* Takes a number off the front. A leading zero is none: 010 means eight to some and ten to others.
 */
std::optional<uint32_t> take_number(std::string_view &text, int base = 10) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    const auto length = static_cast<size_t>(end - text.data());
    if (error != std::errc{} || (base == 10 && length > 1 && text.front() == '0')) {
        return std::nullopt;
    }
    text.remove_prefix(length);
    return value;
}

/* Takes one part of a PCI address off the front. */
bool take_digits(std::string_view &text, size_t least, size_t most, uint32_t max) {
    const size_t before = text.size();
    const auto value = take_number(text, 16);
    const size_t length = before - text.size();
    return value && length >= least && length <= most && *value <= max;
}

/* [domain:]bus:device.function, as in sysfs. A domain has four digits, five behind Intel's VMD. */
std::optional<std::string> read_bdf(std::string_view text) {
    constexpr std::string_view no_domain = "0000:";
    std::string bdf(text.substr(0, 16));
    std::transform(bdf.begin(), bdf.end(), bdf.begin(), [](char c) {
        return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (std::count(bdf.begin(), bdf.end(), ':') == 1) {
        bdf.insert(0, no_domain);
    }
    std::string_view rest = bdf;
    const bool good = text.size() <= 16 && take_digits(rest, 4, 8, 0xffffffff) && skip(rest, ":") &&
                      take_digits(rest, 2, 2, 0xff) && skip(rest, ":") &&
                      take_digits(rest, 2, 2, 0x1f) && skip(rest, ".") &&
                      take_digits(rest, 1, 1, 7) && rest.empty();
    return good ? std::optional(bdf) : std::nullopt;
}

/* "vf3" and what may stand before it; with `brackets` also "vf[3]", "[3]" and "3". */
class FunctionReader {
  public:
    FunctionReader(std::string_view text, bool brackets) : text_(text), brackets_(brackets) {}

    /* The whole text, into `id`. */
    bool read(FunctionId &id) {
        if (brackets_ && (text_.starts_with('[') || (!text_.empty() && text_[0] <= '9'))) {
            id.flavour = Flavour::vf;
            return take(id.number, std::numeric_limits<uint16_t>::max()) && text_.empty();
        }
        if (skip(text_, "c")) {
            uint32_t controller = 0;
            if (!take(controller, std::numeric_limits<uint32_t>::max()) ||
                !text_.starts_with("pf")) {
                return false;
            }
            id.controller = controller == 0 ? std::nullopt : std::optional(controller);
        }
        if (skip(text_, "pf")) {
            uint32_t pf = 0;
            if (!take(pf, std::numeric_limits<uint16_t>::max())) {
                return false;
            }
            id.pf_number = static_cast<uint16_t>(pf);
        }
        const bool is_vf = text_.starts_with("vf");
        id.flavour = is_vf ? Flavour::vf : Flavour::sf;
        return (skip(text_, "vf") || skip(text_, "sf")) &&
               take(id.number, is_vf ? std::numeric_limits<uint16_t>::max()
                                     : std::numeric_limits<uint32_t>::max()) &&
               text_.empty();
    }

  private:
    bool take(uint32_t &number, uint32_t max) {
        const bool open = brackets_ && skip(text_, "[");
        const auto value = take_number(text_);
        number = value.value_or(0);
        return value && *value <= max && (!open || skip(text_, "]"));
    }

    std::string_view text_;
    bool brackets_;
};

tl::unexpected<Error> bad_device(std::string_view text, const std::string &wanted) {
    return fail(Reason::bad_device, "vdpa-accelerator-devargs=" + excerpt(text) + ": " + wanted);
}

Expected<RequestedDevice> parse_kernel_device(std::string_view text, std::string_view name) {
    const size_t slash = name.find('/');
    if (slash != std::string_view::npos) {
        const auto management = parse_pf(name);
        if (!management) {
            return bad_device(text,
                              "vdpa: must be followed by the name of a vDPA device, or by a "
                              "management device such as pci/0000:43:00.2");
        }
        return ManagedDevice{management->text()};
    }
    if (const auto bdf = read_bdf(name)) {
        return bad_device(text,
                          "is the name of no vDPA device; for one made of that PCI function "
                          "write vdpa:pci/" +
                              *bdf);
    }
    if (name.empty() || name.size() > max_vdpa_name || !is_printable(name) ||
        name.find(',') != std::string_view::npos) {
        return bad_device(text,
                          "vdpa: must be followed by the name of a vDPA device, see `vdpa dev "
                          "show`, or of a management device, see `vdpa mgmtdev show`");
    }
    return KernelDevice{std::string(name), {}};
}

/* "k=v,k=v", or nothing. What the keys mean is DPDK's business. */
bool are_arguments(std::string_view text) {
    while (!text.empty()) {
        const size_t comma = text.find(',');
        const std::string_view argument = text.substr(0, comma);
        const size_t equals = argument.find('=');
        if (equals == 0 || equals == std::string_view::npos ||
            !is_name(argument.substr(0, equals), max_handle_part) || !is_printable(argument)) {
            return false;
        }
        if (comma == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(comma + 1);
        if (text.empty()) {
            return false;
        }
    }
    return true;
}

/* Up to the next comma that stands outside of brackets; takes it, and the comma, off. */
std::string_view take_argument(std::string_view &text) {
    size_t depth = 0;
    size_t end = 0;
    for (; end < text.size() && (text[end] != ',' || depth > 0); end++) {
        depth += text[end] == '[' ? 1 : 0;
        depth -= text[end] == ']' && depth > 0 ? 1 : 0;
    }
    const std::string_view argument = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    return argument;
}

/* Whether two ways to say it, of which one may leave the PF's number out, may mean one function. */
bool agree(const FunctionId &a, const FunctionId &b) {
    FunctionId other = b;
    if (!a.pf_number || !b.pf_number) {
        other.pf_number = a.pf_number;
    }
    return a == other;
}

}  // namespace

std::string FunctionId::text() const {
    return pf.label() + "," + (controller ? "c" + std::to_string(*controller) : "") +
           (pf_number ? "pf" + std::to_string(*pf_number) : "") +
           (flavour == Flavour::vf ? "vf" : "sf") + std::to_string(number);
}

Expected<Handle> parse_pf(std::string_view text) {
    const size_t slash = text.find('/');
    const std::string_view bus = slash == std::string_view::npos ? "pci" : text.substr(0, slash);
    const std::string_view device = slash == std::string_view::npos ? text : text.substr(slash + 1);
    std::optional<std::string> name;
    if (bus == "pci") {
        name = read_bdf(device);
    } else if (is_name(bus, max_handle_part) && is_name(device, max_handle_part)) {
        name = std::string(device);
    }
    if (!name) {
        return fail(Reason::bad_device,
                    excerpt(text) +
                        ": must be a PCI address such as 0000:43:00.0, or a devlink "
                        "handle such as netdevsim/netdevsim10");
    }
    return Handle{std::string(bus), *name};
}

Expected<RequestedDevice> parse_accelerator(std::string_view text) {
    constexpr std::string_view node = "/dev/vhost-vdpa-";
    if (text.size() > max_arguments) {
        return bad_device(text, "is longer than " + std::to_string(max_arguments) + " bytes");
    }
    std::string_view rest = text;
    if (skip(rest, "vdpa:")) {
        return parse_kernel_device(text, rest);
    }
    if (skip(rest, node)) {
        const auto number = take_number(rest);
        if (!number || *number > max_minor || !rest.empty()) {
            return bad_device(text, "must be /dev/vhost-vdpa-N with a number N");
        }
        return KernelDevice{{}, std::string(text)};
    }
    const bool is_auxiliary = skip(rest, "auxiliary:");
    if (!is_auxiliary) {
        skip(rest, "pci:");
    }
    const size_t comma = rest.find(',');
    const std::string_view name = rest.substr(0, comma);
    const std::string_view arguments =
        comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    std::optional<std::string> device;
    if (!is_auxiliary) {
        device = read_bdf(name);
    } else if (is_name(name, max_handle_part)) {
        device = std::string(name);
    }
    if (!device) {
        return bad_device(text,
                          "must begin with a PCI address such as 0000:43:00.2, with "
                          "auxiliary: (auxiliary:mlx5_core.sf.4), with vdpa:, or be "
                          "/dev/vhost-vdpa-N");
    }
    if (!are_arguments(arguments) || (comma != std::string_view::npos && arguments.empty())) {
        return bad_device(text,
                          "after the device must follow nothing, or key=value arguments "
                          "separated by commas");
    }
    return DpdkDevice{{is_auxiliary ? "auxiliary" : "pci", *device}, std::string(arguments)};
}

Expected<FunctionId> parse_representor(std::string_view text) {
    const auto bad = [&text](const std::string &wanted) {
        return fail(Reason::bad_representor, "vdpa-representor=" + excerpt(text) + ": " + wanted);
    };
    const size_t comma = text.find(',');
    const auto pf = parse_pf(text.substr(0, comma));
    if (!pf) {
        return bad(
            "must begin with a PF, which is a PCI address such as 0000:43:00.0 or a devlink "
            "handle such as netdevsim/netdevsim10");
    }
    FunctionId id;
    id.pf = *pf;
    if (comma == std::string_view::npos ||
        !FunctionReader(text.substr(comma + 1), false).read(id)) {
        return bad(
            "after the PF must follow a comma and one of vfN, sfN, pfMvfN, pfMsfN, cKpfMvfN, "
            "cKpfMsfN");
    }
    return id;
}

Expected<FunctionId> parse_dpdk_devargs(std::string_view text) {
    const auto bad = [&text](const std::string &wanted) {
        return fail(Reason::bad_representor, "dpdk-devargs=" + excerpt(text) + ": " + wanted);
    };
    if (text.size() > max_arguments) {
        return bad("is longer than " + std::to_string(max_arguments) + " bytes");
    }
    std::string_view rest = text;
    std::string_view name = take_argument(rest);
    skip(name, "pci:");
    const auto pf = parse_pf(name);
    if (!pf) {
        return bad("must begin with the PCI address of the PF, such as 0000:43:00.0");
    }
    std::optional<std::string_view> representor;
    while (!rest.empty()) {
        std::string_view argument = take_argument(rest);
        if (!skip(argument, "representor=")) {
            continue;
        }
        if (representor) {
            return bad("has two representors; a port is of one");
        }
        representor = argument;
    }
    if (!representor) {
        return bad(
            "has no representor=, so it is the port of the PF itself; add "
            "representor=vfN, or remove vdpa-socket");
    }
    FunctionId id;
    id.pf = *pf;
    if (!FunctionReader(*representor, true).read(id)) {
        return bad(
            "representor= must be one of vfN, sfN, pfMvfN, cKpfMvfN, N, [N]; a port is of "
            "one function, so neither list nor range");
    }
    return id;
}

Expected<DeviceRequest> parse_device_request(const DeviceKeys &keys) {
    DeviceRequest request;
    request.is_dpdk_port = keys.is_dpdk_port;
    if (keys.accelerator) {
        auto device = parse_accelerator(*keys.accelerator);
        if (!device) {
            return tl::make_unexpected(device.error());
        }
        request.device = std::move(*device);
    }
    if (keys.representor) {
        auto id = parse_representor(*keys.representor);
        if (!id) {
            return tl::make_unexpected(id.error());
        }
        request.representor = std::move(*id);
    }
    if (!keys.is_dpdk_port) {
        return request;
    }
    auto id = parse_dpdk_devargs(keys.dpdk_devargs.value_or(""));
    if (!id) {
        return tl::make_unexpected(id.error());
    }
    if (request.representor && !agree(*request.representor, *id)) {
        return fail(Reason::device_mismatch,
                    "vdpa-representor=" + excerpt(*keys.representor) +
                        " and dpdk-devargs=" + excerpt(*keys.dpdk_devargs) +
                        " name different functions: remove vdpa-representor");
    }
    if (!request.representor || id->pf_number) {
        request.representor = std::move(*id);
    }
    return request;
}

}  // namespace vdpa::agent::host
