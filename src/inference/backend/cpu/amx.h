#pragma once

namespace holdfast::cpu {

// Whether this processor has AMX for bf16 and the operating system grants it. The first call asks
// Linux for the state of the tiles, for all threads of the process, that it withholds otherwise.
// https://docs.kernel.org/arch/x86/xstate.html
bool has_amx_bf16();

}  // namespace holdfast::cpu
