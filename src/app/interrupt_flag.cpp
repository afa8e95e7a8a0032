#include "app/interrupt_flag.h"

#include <signal.h>

namespace holdfast::app {
namespace {

// The only thing that a signal handler may reach.
volatile sig_atomic_t interrupted = 0;

void note_interrupt(int /*signal*/) { interrupted = 1; }

}  // namespace

InterruptFlag::InterruptFlag() {
    interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = note_interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    ::sigaction(SIGINT, &action, nullptr);
}

InterruptFlag::~InterruptFlag() { ::signal(SIGINT, SIG_DFL); }

bool InterruptFlag::is_set() const { return interrupted != 0; }

}  // namespace holdfast::app
