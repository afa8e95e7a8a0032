#pragma once

#include <sys/socket.h>

#include <string>

namespace holdfast::http {

// "127.0.0.1", or "127.0.0.1:8080" with the port; IPv6 with a port stands in brackets.
std::string address_text(const sockaddr_storage& address, bool with_port);

}  // namespace holdfast::http
