// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/representor_worker.hpp"

#include <boost/asio/post.hpp>

namespace vdpa::agent::host {

namespace {

std::string pf_key(const Handle &pf) {
    return "pf " + pf.text();
}

}  // namespace

RepresentorWorker::RepresentorWorker(boost::asio::io_context &control, OwnedFile record)
    : RepresentorWorker(control, record, [record] { return Representors::open(record); }) {}

RepresentorWorker::RepresentorWorker(boost::asio::io_context &control, OwnedFile record, Open open)
    : control_(control),
      record_(std::move(record)),
      open_(std::move(open)),
      concerned_(std::make_shared<std::map<std::string, Concerned>>()),
      workers_("representors") {}

Expected<std::unique_ptr<Representors>> RepresentorWorker::take() {
    {
        const std::lock_guard lock(mutex_);
        if (!free_.empty()) {
            auto taken = std::move(free_.back());
            free_.pop_back();
            return taken;
        }
    }
    auto opened = open_();
    if (!opened) {
        return tl::make_unexpected(opened.error());
    }
    return std::make_unique<Representors>(std::move(*opened));
}

template <typename T>
void RepresentorWorker::add(std::set<std::string> keys,
                            std::function<Expected<T>(Representors &)> act,
                            std::function<void(Expected<T>)> done) {
    workers_.add(std::move(keys), [this, act = std::move(act), done = std::move(done)] {
        Expected<T> result = take().and_then([this, &act](std::unique_ptr<Representors> taken) {
            auto acted = act(*taken);
            const std::lock_guard lock(mutex_);
            free_.push_back(std::move(taken));
            return acted;
        });
        boost::asio::post(control_, [done, result = std::move(result)] { done(result); });
    });
}

template <typename T>
void RepresentorWorker::add_about(const std::string &name, const RepresentorSpec *spec,
                                  std::function<Expected<T>(Representors &)> act,
                                  std::function<void(Expected<T>)> done) {
    // It may touch netdevs of whatever PF the Interface had before, too. In VF-LAG a representor
    // hangs off another PF than its function's.
    Concerned &concerned = (*concerned_)[name];
    concerned.requests++;
    if (spec) {
        concerned.pfs.insert({pf_key(spec->function.pf), pf_key(spec->devlink)});
    }
    if (const auto entry = record_.representor(name)) {
        concerned.pfs.insert({pf_key(entry->port.function.pf), pf_key(entry->port.devlink)});
    }
    std::set<std::string> keys = concerned.pfs;
    keys.insert("interface " + name);
    add<T>(std::move(keys), std::move(act),
           [all = concerned_, name, done = std::move(done)](Expected<T> result) {
               if (const auto found = all->find(name); --found->second.requests == 0) {
                   all->erase(found);
               }
               done(std::move(result));
           });
}

void RepresentorWorker::ensure_representor(const std::string &name, const RepresentorSpec &spec,
                                           std::function<void(Expected<RepresentorState>)> done) {
    reserved_names_ = spec.reserved_names;
    add_about<RepresentorState>(
        name, &spec,
        [name, spec](Representors &representors) { return representors.ensure(name, spec); },
        std::move(done));
}

void RepresentorWorker::release_representor(const std::string &name, bool row_goes_on,
                                            std::function<void(Expected<void>)> done) {
    const auto act = [name, row_goes_on, reserved = reserved_names_](Representors &representors) {
        return representors.release(name, row_goes_on, reserved);
    };
    add_about<void>(name, nullptr, act, std::move(done));
}

void RepresentorWorker::owned_representors(
    std::function<void(Expected<std::map<std::string, FunctionId>>)> done) {
    add<std::map<std::string, FunctionId>>(
        {}, [](Representors &representors) { return representors.owned(); }, std::move(done));
}

}  // namespace vdpa::agent::host
