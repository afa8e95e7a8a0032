#include "service/gateway/gateway.h"

#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdlib>
#include <thread>

#include "common/base/assert.h"
#include "service/balance/policy.h"
#include "service/gateway/lane.h"
#include "service/gateway/pooled_entropy.h"
#include "service/gateway/routes.h"

namespace holdfast::gateway {

namespace {

// How many clients one of `loops` may hold so that file descriptors are left: each client may need
// a connection to an instance too, and loops, logs and probes some. What is above waits in the
// backlog.
std::size_t connections_of_a_loop(std::size_t loops) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const std::size_t others = 32 + 8 * loops;
    const std::size_t left = limit.rlim_cur > others ? limit.rlim_cur - others : 0;
    return std::max<std::size_t>(1, left / (2 * loops));
}

// Flat memory that another process could map: the journal's home.
class SharedMemory {
public:
    explicit SharedMemory(std::size_t bytes)
        : fd_(::memfd_create("holdfast-journal", MFD_CLOEXEC)), bytes_(bytes) {
        HF_ASSERT(fd_ && ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0);
        memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
        HF_ASSERT(memory_ != MAP_FAILED);
    }
    ~SharedMemory() { ::munmap(memory_, bytes_); }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    std::span<std::byte> span() { return {static_cast<std::byte*>(memory_), bytes_}; }

private:
    base::UniqueFd fd_;
    std::size_t bytes_;
    void* memory_ = nullptr;
};

}  // namespace

// One event loop with all that its exchanges share. Built and destroyed by the main thread while
// the loop does not run.
class LoopThread {
public:
    LoopThread(const Options& options, const base::Clock& clock, int listener, fleet::Fleet& fleet,
               balance::Policy& policy, Metrics& metrics, RetryBudget& budget, Front& front)
        : memory_(options.journal_bytes),
          journal_(memory_.span(), options.exchanges_max),
          client_(loop_, clock),
          view_(loop_, clock, entropy_, fleet, policy),
          lane_{options,  clock,   entropy_,
                metrics,  client_, view_,
                journal_, budget,  std::make_shared<http::Watchdog>(loop_, clock)},
          server_(
              loop_, clock, listener, options.http,
              [this, &front](http::Request request, http::Responder& responder) {
                  return route(lane_, front, std::move(request), responder);
              },
              protocol_error) {}

    void start() {
        server_.start();
        thread_ = std::thread([this] { loop_.run(); });
    }
    void stop() {
        loop_.stop();
        if (thread_.joinable()) thread_.join();
    }
    void update(std::shared_ptr<const fleet::Snapshot> snapshot) {
        boost::asio::post(loop_, [this, snapshot = std::move(snapshot)]() mutable {
            view_.update(std::move(snapshot));
        });
    }
    void drain() {
        boost::asio::post(loop_, [this] { server_.drain(); });
    }
    // A question that only a turning loop answers.
    void ask() {
        boost::asio::post(loop_, [this] {
            answered_.store(true, std::memory_order_relaxed);
            connections_.store(server_.connections(), std::memory_order_relaxed);
        });
    }
    http::Server& server() { return server_; }
    bool answered() { return answered_.exchange(false, std::memory_order_relaxed); }
    std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }

private:
    loop::Loop loop_{1};
    boost::asio::executor_work_guard<loop::Executor> work_{loop_.get_executor()};
    PooledEntropy entropy_;
    SharedMemory memory_;
    Journal journal_;
    http::Client client_;
    FleetView view_;
    Lane lane_;
    http::Server server_;
    std::thread thread_;
    std::atomic<bool> answered_{true};
    std::atomic<std::size_t> connections_{0};
};

class Gateway::Impl {
public:
    Impl(Options options, base::UniqueFd listener, int roster_fd, telemetry::Registry& registry)
        : options_(std::move(options)),
          listener_(std::move(listener)),
          metrics_(registry),
          front_{registry, false, clock_.now()},
          budget_(clock_, options_.retry),
          policy_(std::move(*balance::make_policy(options_.policy))),
          fleet_(fleet::make_fleet(fleet_loop_, clock_, options_.targets, roster_fd,
                                   options_.health, registry, [] {
                                       // Without its keeper nobody would replace it.
                                       spdlog::critical("the keeper is gone");
                                       std::_Exit(1);
                                   })) {
        const std::uint32_t count = options_.loops != 0
                                        ? options_.loops
                                        : std::max(1U, std::thread::hardware_concurrency());
        options_.http.connections_max =
            std::min(options_.http.connections_max, connections_of_a_loop(count));
        for (std::uint32_t i = 0; i < count; ++i)
            loops_.push_back(std::make_unique<LoopThread>(
                options_, clock_, listener_.get(), *fleet_, *policy_, metrics_, budget_, front_));
        std::vector<http::Server*> servers;
        for (auto& loop : loops_) servers.push_back(&loop->server());
        http::Server::share(servers);
    }

    ~Impl() {
        fleet_loop_.stop();
        if (fleet_thread_.joinable()) fleet_thread_.join();
        for (auto& loop : loops_) loop->stop();
    }

    void start() {
        fleet_->subscribe([this](const std::shared_ptr<const fleet::Snapshot>& snapshot) {
            for (auto& loop : loops_) loop->update(snapshot);
        });
        for (auto& loop : loops_) loop->start();
        fleet_thread_ = std::thread([this] { fleet_loop_.run(); });
    }

    void drain() {
        front_.draining.store(true, std::memory_order_relaxed);
        for (auto& loop : loops_) loop->drain();
    }

    bool loops_answer() {
        bool all = true;
        for (auto& loop : loops_) {
            all = loop->answered() && all;
            loop->ask();
        }
        return all;
    }

    std::size_t connections() const {
        std::size_t sum = 0;
        for (const auto& loop : loops_) sum += loop->connections();
        return sum;
    }

    bool ready() const {
        return std::ranges::any_of(fleet_->snapshot()->instances, [](const auto& instance) {
            return instance.state == fleet::State::ready;
        });
    }

private:
    Options options_;
    base::UniqueFd listener_;
    base::SystemClock clock_;
    Metrics metrics_;
    Front front_;
    RetryBudget budget_;
    std::unique_ptr<balance::Policy> policy_;
    loop::Loop fleet_loop_{1};
    boost::asio::executor_work_guard<loop::Executor> fleet_work_{fleet_loop_.get_executor()};
    std::unique_ptr<fleet::Fleet> fleet_;
    std::thread fleet_thread_;
    std::vector<std::unique_ptr<LoopThread>> loops_;
};

Gateway::Gateway(Options options, base::UniqueFd listener, int roster_fd,
                 telemetry::Registry& registry)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(listener), roster_fd, registry)) {}
Gateway::~Gateway() = default;
void Gateway::start() { impl_->start(); }
void Gateway::drain() { impl_->drain(); }
std::size_t Gateway::connections() const { return impl_->connections(); }
bool Gateway::loops_answer() { return impl_->loops_answer(); }
bool Gateway::ready() const { return impl_->ready(); }

}  // namespace holdfast::gateway
