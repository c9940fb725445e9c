// SPDX-License-Identifier: Apache-2.0
/* A front-end with a virtio-net driver of its own (DPDK's virtio-user), to whose device what it
 * sends comes back, queue by queue: a simulator, or one that a test plays. It sends numbered
 * frames, never more than a few at a time, and expects each back, whole, once, in order.
 *
 *   vdpa-loop PATH FRAMES [key=value...]
 *     PATH         a vhost-user socket, or a /dev/vhost-vdpa-N
 *     pairs=1      queue pairs; each has FRAMES of its own to send
 *     packed=0     packed rings
 *     window=128   frames under way at a time, on each queue
 *     size=64      bytes of a frame, without the virtio-net header
 *     patience=20  seconds without a frame coming back until those under way are given up
 *     server=0     listens on PATH, and lives on when the other side goes and comes back
 *     ring=256     entries of a ring
 *     memory=96    MiB to share with the device
 *     huge=0       of hugepages, not of ordinary memory
 *
 * What has happened is printed as a line of JSON, at the end and in short each second; status 0:
 * everything came back as it should. SIGTERM ends it before. With server=1 frames that were under
 * way when the other side went may be lost, or come later: they are counted, given up after
 * `patience`, and others sent in their place. */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr uint16_t burst = 32;
/* As a port of the engine may have (schema/options.json). */
constexpr uint16_t max_pairs = 128;

volatile sig_atomic_t told_to_end = 0;

struct Options {
    std::string path;
    uint64_t frames = 0;
    std::map<std::string, uint64_t, std::less<>> values = {
        {"pairs", 1},  {"packed", 0}, {"window", 128}, {"size", 64}, {"patience", 20},
        {"server", 0}, {"ring", 256}, {"memory", 96},  {"huge", 0}};

    uint64_t operator[](std::string_view key) const { return values.find(key)->second; }
};

[[noreturn]] void die(const std::string &what) {
    std::fprintf(stderr, "vdpa-loop: %s\n", what.c_str());
    std::exit(2);
}

uint64_t number(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        die("not a number: " + std::string(text));
    }
    return value;
}

Options parse(int argc, char **argv) {
    if (argc < 3) {
        die("usage: vdpa-loop PATH FRAMES [key=value...]");
    }
    Options options;
    options.path = argv[1];
    options.frames = number(argv[2]);
    for (int i = 3; i < argc; ++i) {
        const std::string_view word = argv[i];
        const size_t equals = word.find('=');
        const auto known = options.values.find(word.substr(0, equals));
        if (equals == std::string_view::npos || known == options.values.end()) {
            die("unknown option " + std::string(word));
        }
        known->second = number(word.substr(equals + 1));
    }
    return options;
}

/* What a frame begins with. It is broadcast, which the simulator sends back to its sender; the type
 * is for experiments (IEEE 802, 0x88b5). */
struct __attribute__((packed)) Header {
    std::array<uint8_t, 6> destination;
    std::array<uint8_t, 6> source;
    std::array<uint8_t, 2> type;
    uint32_t process;  // whose it is
    uint16_t queue;
    uint64_t sequence;
};

uint8_t filling(uint64_t sequence, uint32_t offset) {
    return static_cast<uint8_t>(sequence * 31 + offset);
}

class Queue {
  public:
    Queue(const Options &options, uint16_t index, rte_mempool *pool)
        : options_(options), index_(index), pool_(pool), progress_(rte_get_timer_cycles()) {}

    bool done() const { return received_ >= options_.frames; }

    void send() {
        std::array<rte_mbuf *, burst> frames{};
        uint16_t count = 0;
        while (count < burst && next_ - expected_ < options_["window"] &&
               received_ + (next_ - expected_) < options_.frames) {
            rte_mbuf *const frame = make(next_);
            if (!frame) {
                break;
            }
            frames[count++] = frame;
            ++next_;
        }
        const uint16_t sent = rte_eth_tx_burst(0, index_, frames.data(), count);
        for (uint16_t i = sent; i < count; ++i) {
            rte_pktmbuf_free(frames[i]);
            --next_;  // those that were not taken are the last ones
        }
        sent_ += sent;
    }

    void receive() {
        std::array<rte_mbuf *, burst> frames{};
        const uint16_t count = rte_eth_rx_burst(0, index_, frames.data(), burst);
        for (uint16_t i = 0; i < count; ++i) {
            check(*frames[i]);
            rte_pktmbuf_free(frames[i]);
        }
        if (count != 0) {
            progress_ = rte_get_timer_cycles();
        }
    }

    /* Frames that were under way do not come any more; false: there is nothing to go on with. */
    bool give_up() {
        if (rte_get_timer_cycles() - progress_ < options_["patience"] * rte_get_timer_hz()) {
            return true;
        }
        lost += next_ - expected_;
        expected_ = next_;
        progress_ = rte_get_timer_cycles();
        return options_["server"] != 0;
    }

    uint64_t sent() const { return sent_; }
    uint64_t received() const { return received_; }
    uint64_t lost = 0;
    uint64_t late = 0;  // of those lost
    uint64_t misordered = 0;
    uint64_t damaged = 0;
    uint64_t foreign = 0;  // not of this process

  private:
    rte_mbuf *make(uint64_t sequence) {
        rte_mbuf *const frame = rte_pktmbuf_alloc(pool_);
        if (!frame) {
            return nullptr;
        }
        const auto size = static_cast<uint16_t>(options_["size"]);
        char *const bytes = rte_pktmbuf_append(frame, size);
        const Header header = {.destination = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                               .source = {0x52, 0x54, 0, 0, 0, 1},
                               .type = {0x88, 0xb5},
                               .process = process_,
                               .queue = index_,
                               .sequence = sequence};
        std::memcpy(bytes, &header, sizeof(header));
        for (uint32_t i = sizeof(header); i < size; ++i) {
            bytes[i] = static_cast<char>(filling(sequence, i));
        }
        return frame;
    }

    void check(const rte_mbuf &frame) {
        Header header{};
        const auto *const bytes = rte_pktmbuf_mtod(&frame, const uint8_t *);
        // A network may still hold what its last user sent, another process of this program, too.
        // One of ours that was mistaken for such is missed.
        if (frame.nb_segs != 1 || frame.data_len != options_["size"]) {
            ++foreign;
            return;
        }
        std::memcpy(&header, bytes, sizeof(header));
        if (header.type != std::array<uint8_t, 2>{0x88, 0xb5} || header.process != process_ ||
            header.queue != index_) {
            ++foreign;
            return;
        }
        for (uint32_t i = sizeof(header); i < frame.data_len; ++i) {
            if (bytes[i] != filling(header.sequence, i)) {
                ++damaged;
                return;
            }
        }
        if (header.sequence >= given_up_ && header.sequence < expected_ &&
            options_["server"] != 0) {
            ++late;
            given_up_ = header.sequence + 1;
            return;
        }
        if (header.sequence < expected_ || header.sequence >= next_) {
            ++misordered;  // twice, or never sent
            return;
        }
        lost += header.sequence - expected_;
        given_up_ = expected_ = header.sequence + 1;
        ++received_;
    }

    const Options &options_;
    const uint16_t index_;
    const uint32_t process_ = static_cast<uint32_t>(::getpid());
    rte_mempool *const pool_;
    uint64_t next_ = 0;      // sequence number of the next frame
    uint64_t expected_ = 0;  // of the next frame to come back
    uint64_t given_up_ = 0;  // of the first that was given up, and may come all the same
    uint64_t sent_ = 0;
    uint64_t received_ = 0;
    uint64_t progress_;
};

void start_dpdk(const Options &options) {
    std::vector<std::string> arguments = {
        "vdpa-loop",
        "-m",
        std::to_string(options["memory"]),
        "--file-prefix",
        "loop" + std::to_string(::getpid()),
        "-a",
        "0000:00:00.0",
        "--no-telemetry",
        "--lcores",
        "0@(0-" + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN) - 1) + ")",
        "--log-level=*:warning",
        "--vdev=net_virtio_user0,path=" + options.path + ",queues=" +
            std::to_string(options["pairs"]) + ",queue_size=" + std::to_string(options["ring"]) +
            ",packed_vq=" + std::to_string(options["packed"]) +
            ",server=" + std::to_string(options["server"])};
    if (options["huge"] != 0) {
        // A front-end can tell the other side of eight files at most.
        arguments.insert(arguments.end(), {"--in-memory", "--single-file-segments"});
    } else {
        arguments.emplace_back("--no-huge");
    }
    std::vector<char *> argv;
    argv.reserve(arguments.size());
    for (std::string &argument : arguments) {
        argv.push_back(argument.data());
    }
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        die("DPDK does not start");
    }
    if (rte_eth_dev_count_avail() != 1) {
        die("no virtio-user port on " + options.path);
    }
}

rte_mempool *start_port(const Options &options) {
    const auto pairs = static_cast<uint16_t>(options["pairs"]);
    const auto ring = static_cast<uint16_t>(options["ring"]);
    rte_mempool *const pool = rte_pktmbuf_pool_create("frames", pairs * (2U * ring + 256U), 64, 0,
                                                      RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool) {
        die("no memory for frames");
    }
    rte_eth_conf configuration{};
    configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
    configuration.intr_conf.lsc = options["server"] != 0 ? 1 : 0;
    if (rte_eth_dev_configure(0, pairs, pairs, &configuration) != 0) {
        die("the port cannot be configured");
    }
    for (uint16_t queue = 0; queue < pairs; ++queue) {
        if (rte_eth_rx_queue_setup(0, queue, ring, SOCKET_ID_ANY, nullptr, pool) != 0 ||
            rte_eth_tx_queue_setup(0, queue, ring, SOCKET_ID_ANY, nullptr) != 0) {
            die("queue " + std::to_string(queue) + " cannot be set up");
        }
    }
    if (rte_eth_dev_start(0) != 0) {
        die("the port cannot be started");
    }
    return pool;
}

struct Sum {
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t lost = 0;
    uint64_t late = 0;
    uint64_t misordered = 0;
    uint64_t damaged = 0;
    uint64_t foreign = 0;
    bool complete = true;
};

Sum sum_of(const std::vector<Queue> &queues) {
    Sum sum;
    for (const Queue &queue : queues) {
        sum.sent += queue.sent();
        sum.received += queue.received();
        sum.lost += queue.lost;
        sum.late += queue.late;
        sum.misordered += queue.misordered;
        sum.damaged += queue.damaged;
        sum.foreign += queue.foreign;
        sum.complete = sum.complete && queue.done();
    }
    return sum;
}

std::string text_of(const Sum &sum) {
    const std::array<std::pair<const char *, uint64_t>, 7> numbers = {
        {{"sent", sum.sent},
         {"received", sum.received},
         {"lost", sum.lost},
         {"late", sum.late},
         {"misordered", sum.misordered},
         {"damaged", sum.damaged},
         {"foreign", sum.foreign}}};
    std::string text;
    for (const auto &[name, number] : numbers) {
        text += text.empty() ? "" : ", ";
        text += '"' + std::string(name) + "\": " + std::to_string(number);
    }
    return text;
}

/* Until all frames have come back, or nothing goes on any more. */
void exchange(std::vector<Queue> &queues) {
    uint64_t report_at = 0;
    bool going_on = true;
    while (going_on && !told_to_end) {
        bool done = true;
        for (Queue &queue : queues) {
            queue.receive();
            if (!queue.done()) {
                done = false;
                queue.send();
                going_on = going_on && queue.give_up();
            }
        }
        going_on = going_on && !done;
        if (const uint64_t now = rte_get_timer_cycles(); now >= report_at) {
            report_at = now + rte_get_timer_hz();
            std::printf("{%s}\n", text_of(sum_of(queues)).c_str());
            std::fflush(stdout);
        }
    }
}

}  // namespace

int main(int argc, char **argv) {
    const Options options = parse(argc, argv);
    if (options["size"] < sizeof(Header) || options["size"] > 1500) {
        die("size: from " + std::to_string(sizeof(Header)) + " to 1500");
    }
    if (options["pairs"] < 1 || options["pairs"] > max_pairs) {
        die("pairs: from 1 to " + std::to_string(max_pairs));
    }
    start_dpdk(options);
    rte_mempool *const pool = start_port(options);
    ::signal(SIGTERM, [](int) { told_to_end = 1; });
    std::printf("{\"started\": true}\n");
    std::fflush(stdout);

    std::vector<Queue> queues;
    const auto pairs = static_cast<uint16_t>(options["pairs"]);
    for (uint16_t i = 0; i < pairs; ++i) {
        queues.emplace_back(options, i, pool);
    }
    const uint64_t begin = rte_get_timer_cycles();
    exchange(queues);
    const double seconds = static_cast<double>(rte_get_timer_cycles() - begin) /
                           static_cast<double>(rte_get_timer_hz());

    const Sum sum = sum_of(queues);
    std::printf("{\"complete\": %s, %s, \"seconds\": %.3f}\n", sum.complete ? "true" : "false",
                text_of(sum).c_str(), seconds);
    std::fflush(stdout);
    rte_eth_dev_stop(0);
    rte_eth_dev_close(0);
    rte_eal_cleanup();
    const bool good = sum.complete && sum.misordered == 0 && sum.damaged == 0 &&
                      (sum.lost == 0 || options["server"] != 0);
    return good ? 0 : 1;
}
