#pragma once
// libmicrohttpd, with wrappers for what Swift cannot call: variadic functions.
#include <microhttpd.h>

// Starts a daemon that owns the listening socket and serves it from one thread of its own. Bounded: 32 connections,
// 10 seconds of silence each. Returns NULL on failure, when the socket is still the caller's.
static inline struct MHD_Daemon *vigie_http_start(int socket, MHD_AccessHandlerCallback handler, void *context) {
    return MHD_start_daemon(
        MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handler, context,
        MHD_OPTION_LISTEN_SOCKET, socket,
        MHD_OPTION_CONNECTION_LIMIT, 32u,
        MHD_OPTION_CONNECTION_TIMEOUT, 10u,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)(256 * 1024),
        MHD_OPTION_END);
}

// A response that holds its own copy of the content.
static inline struct MHD_Response *vigie_http_response(const void *content, size_t size) {
    return MHD_create_response_from_buffer(size, (void *)content, MHD_RESPMEM_MUST_COPY);
}
