#include "client_lib/src/connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::client {

Connection::Connection(std::unique_ptr<transport::Link> link, Connector connector,
                       const ConnectionOptions& options, const base::Clock* clock,
                       Counters* counters)
    : connector_(std::move(connector)),
      options_(options),
      clock_(clock),
      counters_(counters),
      session_(NewSession(std::move(link))),
      backoff_(options.backoff),
      random_(static_cast<uint32_t>(options.seed)) {}

Connection::~Connection() {
  std::thread attempt;
  {
    base::MutexLock lock(&mutex_);
    attempt = std::move(thread_);
  }
  if (attempt.joinable()) attempt.join();
}

std::shared_ptr<Session> Connection::NewSession(std::unique_ptr<transport::Link> link) const {
  return std::make_shared<Session>(std::move(link), options_.call_deadline,
                                   options_.max_staging_bytes);
}

absl::StatusOr<std::shared_ptr<Session>> Connection::Current() {
  base::MutexLock lock(&mutex_);
  if (session_->alive()) return session_;
  if (connector_ == nullptr) return absl::UnavailableError("the node has gone");
  if (!attempting_ && clock_->Now() >= next_attempt_) StartAttempt();
  return absl::UnavailableError(
      last_error_.ok() ? "the node has gone; connecting again"
                       : absl::StrCat("the node has gone; trying again: ", last_error_.message()));
}

void Connection::StartAttempt() {
  attempting_ = true;
  thread_ = std::thread([this, before = std::move(thread_)]() mutable {
    if (before.joinable()) before.join();  // it has said its last word: attempting_ was false
    Attempt();
  });
}

void Connection::Attempt() {
  Settle(connector_()).reset();
  base::MutexLock lock(&mutex_);
  attempting_ = false;
}

std::shared_ptr<Session> Connection::Settle(absl::StatusOr<std::unique_ptr<transport::Link>> link) {
  base::MutexLock lock(&mutex_);
  last_error_ = link.status();
  if (link.ok()) {
    backoff_ = options_.backoff;
    next_attempt_ = absl::InfinitePast();
    ++counters_->reconnects;
    return std::exchange(session_, NewSession(*std::move(link)));
  }
  const double jitter = std::uniform_real_distribution<double>(0.5, 1.5)(random_);
  next_attempt_ = clock_->Now() + backoff_ * jitter;
  backoff_ = std::min(backoff_ * 2, kMaxBackoff);
  return nullptr;
}

}  // namespace cistern::client
