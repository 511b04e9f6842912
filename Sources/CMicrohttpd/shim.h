#pragma once
// libmicrohttpd, with wrappers for what Swift cannot call: variadic functions.
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

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

// Copies the password of a request's Basic authentication (RFC 7617), whatever its user is. Returns its length, or -1 if
// the request has none or it does not fit.
static inline int vigie_http_password(struct MHD_Connection *connection, char *result, size_t size) {
    char *password = NULL;
    char *user = MHD_basic_auth_get_username_password(connection, &password);
    int length = password ? snprintf(result, size, "%s", password) : -1;
    MHD_free(user);
    MHD_free(password);
    return length >= 0 && (size_t)length < size ? length : -1;
}

// The first header field of a request by a name; NULL if there is none. It lives as long as the request.
static inline const char *vigie_http_field(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}
