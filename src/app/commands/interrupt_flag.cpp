#include "app/commands/interrupt_flag.h"

#include <signal.h>

namespace holdfast::commands {
namespace {

constexpr int caught[] = {SIGINT, SIGTERM, SIGHUP};

// The only thing that a signal handler may reach: the signal that came, or 0.
volatile sig_atomic_t interrupted = 0;

void note_interrupt(int signal) { interrupted = signal; }

}  // namespace

InterruptFlag::InterruptFlag() {
    interrupted = 0;
    struct sigaction action = {};
    action.sa_handler = note_interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    for (const int signal : caught) {
        struct sigaction before = {};
        ::sigaction(signal, nullptr, &before);
        // What nohup ignores stays ignored.
        if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
    }
}

InterruptFlag::~InterruptFlag() {
    for (const int signal : caught) {
        struct sigaction now = {};
        ::sigaction(signal, nullptr, &now);
        if (now.sa_handler == note_interrupt) ::signal(signal, SIG_DFL);
    }
}

bool InterruptFlag::is_set() const { return interrupted != 0; }

int InterruptFlag::exit_code() const { return 128 + interrupted; }

}  // namespace holdfast::commands
