// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace vdpa::agent::host {

/* Threads for what blocks in the kernel, some of it for seconds. Each job has keys: what it is
 * about, such as an Interface and a PF. Jobs that share a key are carried out one at a time and in
 * the order in which they are added, whatever other keys they have; others do not wait for each
 * other. Threads are started as they are needed and kept. */
class KeyedWorkers {
  public:
    /* `name`: of the threads in the log. */
    explicit KeyedWorkers(std::string name, size_t most_threads = 64);
    /* Waits for the jobs at hand and drops the others. */
    ~KeyedWorkers();
    KeyedWorkers(const KeyedWorkers &) = delete;
    KeyedWorkers &operator=(const KeyedWorkers &) = delete;

    /* From any thread. `act` runs on one of the threads and must not throw. */
    void add(std::set<std::string> keys, std::function<void()> act);

    size_t threads() const;

  private:
    struct Job {
        std::set<std::string> keys;
        std::function<void()> act;
    };
    using Jobs = std::list<Job>;

    Jobs::iterator find_ready();
    void start_thread_if_needed();
    void run();

    const std::string name_;
    const size_t most_threads_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    Jobs waiting_;
    std::set<std::string> busy_;  // keys of the jobs at hand
    size_t idle_ = 0;             // threads
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace vdpa::agent::host
