#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>
#include <memory>

#include "common/http/address.h"
#include "common/http/server.h"

namespace holdfast::http {
namespace {

constexpr int backlog = 1024;

struct HostPort {
    std::string host;
    std::string port;
};

base::Result<HostPort> split_address(std::string_view address) {
    const std::size_t colon = address.rfind(':');
    if (colon == std::string_view::npos) {
        return base::fail(base::Code::invalid, "listen address '{}' is not host:port", address);
    }
    std::string_view host = address.substr(0, colon);
    const std::string_view port = address.substr(colon + 1);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (!bracketed && host.contains(':')) {
        return base::fail(base::Code::invalid, "listen address '{}': put IPv6 in brackets",
                          address);
    }
    std::uint16_t number = 0;
    const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (port.empty() || error != std::errc() || stop != port.data() + port.size()) {
        return base::fail(base::Code::invalid, "listen address '{}': invalid port", address);
    }
    return HostPort{std::string(host), std::string(port)};
}

base::Result<base::UniqueFd> listen_on(const addrinfo& info, std::string_view address) {
    base::UniqueFd fd(::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        ::bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) {
        return base::fail(base::Code::unavailable, "cannot listen on '{}': {}", address,
                          std::strerror(errno));
    }
    return fd;
}

}  // namespace

base::Result<base::UniqueFd> listen_tcp(std::string_view address) {
    HF_TRY_ASSIGN(const HostPort where, split_address(address));
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const char* host = where.host.empty() ? nullptr : where.host.c_str();
    if (const int error = ::getaddrinfo(host, where.port.c_str(), &hints, &found); error != 0) {
        return base::fail(base::Code::invalid, "listen address '{}': {}", address,
                          ::gai_strerror(error));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    return listen_on(*found, address);
}

std::string address_text(const sockaddr_storage& address, bool with_port) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET6) {
        const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
        ::inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
        return with_port ? fmt::format("[{}]:{}", text, ntohs(ipv6.sin6_port)) : text;
    }
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
    return with_port ? fmt::format("{}:{}", text, ntohs(ipv4.sin_port)) : text;
}

std::string local_address(int listener) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    if (::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return address_text(address, true);
}

}  // namespace holdfast::http
