#include <string>
#include <vector>

#include "app/commands.h"

int main(int count, char** values) {
    const std::vector<std::string> arguments(values + 1, values + count);
    return holdfast::app::run(arguments, holdfast::cli::Streams{});
}
