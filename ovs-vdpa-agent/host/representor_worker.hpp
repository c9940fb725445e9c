// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/keyed_workers.hpp"
#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/representor_service.hpp"
#include "ovs-vdpa-agent/host/representors.hpp"

namespace vdpa::agent::host {

/* Carries requests about representors out on threads of its own: one for each PF at a time, because
 * the kernel serialises what concerns one PF anyway, and the eswitch of one may be at work for
 * seconds. A request about an Interface whose representor was of another PF waits for both. */
class RepresentorWorker : public RepresentorService {
  public:
    /* Makes what carries out, for one thread at a time; called on the threads. */
    using Open = std::function<Expected<Representors>()>;

    /* Answers are posted to `control`, which must outlive this. All is called on its thread. */
    RepresentorWorker(boost::asio::io_context &control, OwnedFile record);
    RepresentorWorker(boost::asio::io_context &control, OwnedFile record, Open open);

    void ensure_representor(const std::string &name, const RepresentorSpec &spec,
                            std::function<void(Expected<RepresentorState>)> done) override;
    void release_representor(const std::string &name, bool row_goes_on,
                             std::function<void(Expected<void>)> done) override;
    void owned_representors(
        std::function<void(Expected<std::map<std::string, FunctionId>>)> done) override;

  private:
    /* PFs that the requests about an Interface that are under way concern. */
    struct Concerned {
        std::set<std::string> pfs = {};
        size_t requests = 0;
    };

    /* Runs `act` with one of the Representors that are free. */
    template <typename T>
    void add(std::set<std::string> keys, std::function<Expected<T>(Representors &)> act,
             std::function<void(Expected<T>)> done);
    /* The same, for a request about an Interface, and of what it asks for where there is any. */
    template <typename T>
    void add_about(const std::string &name, const RepresentorSpec *spec,
                   std::function<Expected<T>(Representors &)> act,
                   std::function<void(Expected<T>)> done);
    Expected<std::unique_ptr<Representors>> take();

    boost::asio::io_context &control_;
    OwnedFile record_;
    Open open_;
    /* Of the control thread, which may be told of answers when this is gone. */
    std::shared_ptr<std::map<std::string, Concerned>> concerned_;
    /* Names that rows had at the last request that told. */
    std::vector<std::string> reserved_names_;

    std::mutex mutex_;
    std::vector<std::unique_ptr<Representors>> free_;
    KeyedWorkers workers_;  // last, so that they end before what they use
};

}  // namespace vdpa::agent::host
