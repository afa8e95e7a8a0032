#include "common/http/watchdog.h"

#include <algorithm>

namespace holdfast::http {

Watchdog::Watchdog(loop::Loop& loop, const base::Clock& clock)
    : clock_(clock), timer_(loop.get_executor()) {
    anchor_.next_ = anchor_.previous_ = &anchor_;
}

Watchdog::~Watchdog() {
    while (anchor_.next_ != &anchor_) anchor_.next_->unlink();
}

void Watchdog::watch(Entry& entry, base::Deadline deadline) {
    entry.at_ = deadline.at();
    if (deadline.is_never() || stopped_) return;
    if (entry.next_ == nullptr) {
        entry.next_ = anchor_.next_;
        entry.previous_ = &anchor_;
        entry.next_->previous_ = entry.previous_->next_ = &entry;
    }
    earliest_ = std::min(earliest_, entry.at_);
    if (!ticking_) schedule();
}

void Watchdog::stop() {
    stopped_ = true;
    timer_.cancel();
}

void Watchdog::schedule() {
    ticking_ = true;
    timer_.expires_after(tick);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code) { self->check(); });
}

void Watchdog::check() {
    ticking_ = false;
    if (stopped_ || anchor_.next_ == &anchor_) return;
    schedule();
    const base::Instant now = clock_.now();
    if (now < earliest_) return;
    // Entries without a deadline leave the list here; they come back when they get one.
    earliest_ = base::Instant::max();
    Entry* entry = anchor_.next_;
    while (entry != &anchor_) {
        Entry* next = entry->next_;
        if (entry->at_ == base::Instant::max()) {
            entry->unlink();
        } else if (entry->at_ <= now) {
            entry->at_ = base::Instant::max();
            entry->unlink();
            // A cursor in the list survives whatever expired() does to the neighbours.
            Anchor cursor;
            cursor.next_ = next;
            cursor.previous_ = next->previous_;
            cursor.previous_->next_ = next->previous_ = &cursor;
            entry->expired();
            next = cursor.next_;
        } else {
            earliest_ = std::min(earliest_, entry->at_);
        }
        entry = next;
    }
}

}  // namespace holdfast::http
