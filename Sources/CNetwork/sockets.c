// Sockets: to connect within a bound, and to try whether a port is free.
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int vigie_resolve(const char *host, const char *port, struct addrinfo **result) {
    struct addrinfo hints = {0};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = AF_UNSPEC;
    return getaddrinfo(host, port, &hints, result);
}

// Sets the bound of a socket's reads and writes: 0 or -1.
static int set_bound(int socket_, int milliseconds) {
    struct timeval bound = {milliseconds / 1000, milliseconds % 1000 * 1000};
    int failed = setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound) != 0
        || setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) != 0;
    return failed ? -1 : 0;
}

int vigie_connect_unix(const char *path, int milliseconds, int *code) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *code = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ >= 0 && set_bound(socket_, milliseconds) == 0
        && connect(socket_, (struct sockaddr *)&address, sizeof address) == 0)
        return socket_;
    *code = errno;
    if (socket_ >= 0) close(socket_);
    return -1;
}

int vigie_connect(const struct addrinfo *address, int milliseconds, int *code) {
    int socket_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_ < 0) {
        *code = errno;
        return -1;
    }
    *code = 0;
    if (connect(socket_, address->ai_addr, address->ai_addrlen) != 0) *code = errno;
    if (*code == EINPROGRESS) {
        struct pollfd wait = {socket_, POLLOUT, 0};
        int ready;
        do ready = poll(&wait, 1, milliseconds); while (ready < 0 && errno == EINTR);
        socklen_t size = sizeof *code;
        if (ready == 0) *code = ETIMEDOUT;
        else if (ready < 0 || getsockopt(socket_, SOL_SOCKET, SO_ERROR, code, &size) != 0) *code = errno;
    }
    if (*code == 0) {
        int flags = fcntl(socket_, F_GETFL);
        if (flags < 0 || fcntl(socket_, F_SETFL, flags & ~O_NONBLOCK) != 0 || set_bound(socket_, milliseconds) != 0)
            *code = errno;
    }
    if (*code == 0) return socket_;
    close(socket_);
    return -1;
}

int vigie_try_listening(const struct addrinfo *address) {
    int socket_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return errno;
    int on = 1, code = 0;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, address->ai_addr, address->ai_addrlen) != 0 || listen(socket_, 1) != 0) code = errno;
    close(socket_);
    return code;
}
