// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/agent/ovs/database_fixture.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif

namespace vdpa::test {
namespace {

class Scale : public DatabaseTest {
  protected:
    /* Adds `n` ports, the first `ours` of them vDPA ports, in one transaction. In a process of its
     * own, so that the memory it takes is not in what is measured. */
    void add_ports(int n, int ours) {
        const pid_t child = fork();
        if (child == 0) {
            const std::string reply = transact(request_for_ports(n, ours));
            const bool good = reply.find("\"error\":null") != std::string::npos &&
                              reply.find("\"error\":\"") == std::string::npos;
            if (!good) {
                fprintf(stderr, "%.1000s\n", reply.c_str());
            }
            _exit(good ? 0 : 1);
        }
        int status = -1;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
    }

    static nlohmann::json request_for_ports(int n, int ours) {
        nlohmann::json request = nlohmann::json::array({"Open_vSwitch"});
        nlohmann::json ports = nlohmann::json::array();
        for (int i = 0; i < n; i++) {
            const std::string name = "port" + std::to_string(i);
            const nlohmann::json external_ids = nlohmann::json::array(
                {pair("iface-id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
                 pair("attached-mac", "fa:16:3e:00:00:01"), pair("iface-status", "active"),
                 pair("vm-uuid", "6ba7b811-9dad-11d1-80b4-00c04fd430c8")});
            nlohmann::json options = nlohmann::json::array();
            if (i < ours) {
                options.push_back(pair("vdpa-socket", "/run/openvswitch/" + name + ".sock"));
            }
            request.push_back({{"op", "insert"},
                               {"table", "Interface"},
                               {"uuid-name", "i" + name},
                               {"row",
                                {{"name", name},
                                 {"options", pair("map", options)},
                                 {"external_ids", pair("map", external_ids)}}}});
            request.push_back(
                {{"op", "insert"},
                 {"table", "Port"},
                 {"uuid-name", "p" + name},
                 {"row", {{"name", name}, {"interfaces", pair("named-uuid", "i" + name)}}}});
            ports.push_back(pair("named-uuid", "p" + name));
        }
        request.push_back(
            {{"op", "mutate"},
             {"table", "Bridge"},
             {"where", nlohmann::json::array({nlohmann::json::array({"name", "==", "br0"})})},
             {"mutations", nlohmann::json::array(
                               {nlohmann::json::array({"ports", "insert", pair("set", ports)})})}});
        return request;
    }

    /* Not {a, b}, which may be taken for an object's member. */
    static nlohmann::json pair(const std::string &first, const nlohmann::json &second) {
        return nlohmann::json::array({first, second});
    }

    /* The server's reply (RFC 7047, section 4.1.3). Through a socket, because the request is too
     * long for a command line. */
    std::string transact(const nlohmann::json &request) {
        UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder_ / "db.sock";
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        if (connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) < 0) {
            return "connect failed";
        }
        const std::string text =
            nlohmann::json{{"method", "transact"}, {"params", request}, {"id", 1}}.dump();
        for (size_t sent = 0; sent < text.size();) {
            const ssize_t n = send(fd.get(), &text[sent], text.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) {
                return "send failed";
            }
            sent += static_cast<size_t>(n);
        }
        std::string reply;
        std::array<char, 65536> buffer{};
        while (!nlohmann::json::accept(reply)) {
            const ssize_t n = recv(fd.get(), buffer.data(), buffer.size(), 0);
            if (n <= 0) {
                return "recv failed";
            }
            reply.append(buffer.data(), static_cast<size_t>(n));
        }
        return reply;
    }

    static long resident_kilobytes() {
        std::ifstream status("/proc/self/status");
        std::string line;
        while (std::getline(status, line)) {
            if (line.starts_with("VmRSS:")) {
                return std::stol(line.substr(6));
            }
        }
        return 0;
    }
};

TEST_F(Scale, ten_thousand_interfaces_leave_memory_under_60_megabytes) {
#ifdef WITH_SANITIZER
    GTEST_SKIP() << "a sanitizer multiplies memory";
#endif
    start_server();
    add_ports(10000, 100);

    start_agent();

    EXPECT_EQ(agent_->view().rows.size(), 100U);
    const long resident = resident_kilobytes();
    RecordProperty("resident_kilobytes", static_cast<int>(resident));
    EXPECT_LT(resident, 60 * 1024);
}

}  // namespace
}  // namespace vdpa::test
