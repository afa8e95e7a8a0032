#include <sys/prctl.h>

#include <string>
#include <vector>

#include "app/commands/commands.h"

int main(int count, char** values) {
    // The keeper starts its children as /proc/self/exe; ps and top shall not call them "exe".
    ::prctl(PR_SET_NAME, "holdfast");
    const std::vector<std::string> arguments(values + 1, values + count);
    return holdfast::commands::run(arguments, holdfast::cli::Streams{});
}
