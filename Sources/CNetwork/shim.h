#pragma once
// Sockets, whose constants are enumerations and macros in C, and one TLS handshake with OpenSSL.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Looks a name up (getaddrinfo(3)); 0, or an EAI_ code. freeaddrinfo is the caller's.
static inline int vigie_resolve(const char *host, const char *port, struct addrinfo **result) {
    struct addrinfo hints = {0};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = AF_UNSPEC;
    return getaddrinfo(host, port, &hints, result);
}

// Sets the bound of a socket's reads and writes: 0 or -1.
static inline int vigie_set_bound(int socket_, int milliseconds) {
    struct timeval bound = {milliseconds / 1000, milliseconds % 1000 * 1000};
    int failed = setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound) != 0
        || setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) != 0;
    return failed ? -1 : 0;
}

// Connects to a Unix socket, whose reads and writes have the bound then. Returns the socket, or -1 with the error number
// in *code.
static inline int vigie_connect_unix(const char *path, int milliseconds, int *code) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *code = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ >= 0 && vigie_set_bound(socket_, milliseconds) == 0
        && connect(socket_, (struct sockaddr *)&address, sizeof address) == 0)
        return socket_;
    *code = errno;
    if (socket_ >= 0) close(socket_);
    return -1;
}

// Connects a socket within `milliseconds`, after which its reads and writes have the same bound. Returns the socket, or
// -1 with the error number in *code.
static inline int vigie_connect(const struct addrinfo *address, int milliseconds, int *code) {
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
        if (flags < 0 || fcntl(socket_, F_SETFL, flags & ~O_NONBLOCK) != 0 || vigie_set_bound(socket_, milliseconds) != 0)
            *code = errno;
    }
    if (*code == 0) return socket_;
    close(socket_);
    return -1;
}

// Whether an address could be listened on, without doing so for longer than the call: 0 or the error number.
static inline int vigie_try_listening(const struct addrinfo *address) {
    int socket_ = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return errno;
    int on = 1, code = 0;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket_, address->ai_addr, address->ai_addrlen) != 0 || listen(socket_, 1) != 0) code = errno;
    close(socket_);
    return code;
}

// What a certificate says.
typedef struct {
    char subject[256];
    char issuer[256];
    long long not_before, not_after;  // Seconds since the epoch.
} vigie_certificate;

static inline long long vigie_seconds(const ASN1_TIME *time_) {
    struct tm parts;
    return time_ && ASN1_TIME_to_tm(time_, &parts) == 1 ? (long long)timegm(&parts) : 0;
}

static inline void vigie_describe(X509 *certificate, vigie_certificate *result) {
    X509_NAME_oneline(X509_get_subject_name(certificate), result->subject, sizeof result->subject);
    X509_NAME_oneline(X509_get_issuer_name(certificate), result->issuer, sizeof result->issuer);
    result->not_before = vigie_seconds(X509_get0_notBefore(certificate));
    result->not_after = vigie_seconds(X509_get0_notAfter(certificate));
}

// Copies OpenSSL's last reason. Returns the alert of the other side (RFC 8446, 6) that it is, or 0.
static inline int vigie_tls_reason(char *reason, size_t size) {
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, reason, size);
    else snprintf(reason, size, "%s", errno ? strerror(errno) : "the connection was closed");
    ERR_clear_error();
    int is_alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET
        && ERR_GET_REASON(code) < SSL_AD_REASON_OFFSET + 256;
    return is_alert ? ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET : 0;
}

// The first certificate of a PEM file: 0, or -1 with a reason.
static inline int vigie_read_certificate(const char *path, vigie_certificate *result, char *reason, size_t size) {
    errno = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(reason, size, "%s", strerror(errno));
        return -1;
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (!certificate) {
        vigie_tls_reason(reason, size);
        return -1;
    }
    vigie_describe(certificate, result);
    X509_free(certificate);
    return 0;
}

// What a handshake showed.
typedef struct {
    int is_attempted;     // Whether the files could be used, so that it was begun.
    int is_done;          // Whether the handshake came to its end.
    long verification;    // X509_V_OK, or why the certificate is not believed.
    char reason[256];     // Why it failed, or what the verification says.
    char version[32];     // Such as TLSv1.3.
    int has_certificate;
    vigie_certificate certificate;
    int wants_certificate;  // Whether the server asked for the client's certificate.
    int alert;              // The alert with which the server ended it, in the handshake or at the question; 0 for none.
    int is_refused;         // Whether the server ended the connection at the question.
    char refusal[256];      // How.
} vigie_handshake;

// Called when the server asks for a certificate.
static inline int vigie_note_request(SSL *session, void *is_asked) {
    (void)session;
    *(int *)is_asked = 1;
    return 1;
}

// Sends a question and waits for the first byte of the answer. In TLS 1.3 a server judges the client's certificate after
// the client's part of the handshake, so only this shows whether it goes on.
static inline void vigie_ask(SSL *session, const void *question, int size, vigie_handshake *result) {
    char byte;
    ERR_clear_error();
    errno = 0;
    int count = SSL_write(session, question, size);
    // What the server said before it closed can still be read when nothing can be written any more.
    int read = SSL_read(session, &byte, 1);
    if (read > 0) return;
    int is_late = count > 0 && SSL_get_error(session, read) == SSL_ERROR_WANT_READ;
    if (is_late) return;
    result->is_refused = 1;
    result->alert = vigie_tls_reason(result->refusal, sizeof result->refusal);
}

// Makes one TLS handshake on a connected socket, and then asks the question, if there is one. The certificate is judged
// and not insisted on, so that it can be shown.
static inline void vigie_shake_hands(
    int socket_, const char *host, const char *authorities, const char *certificate, const char *key,
    const void *question, int size, vigie_handshake *result) {
    memset(result, 0, sizeof *result);
    // OpenSSL writes without MSG_NOSIGNAL.
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    ERR_clear_error();
    errno = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *session = NULL;
    int is_ready = context != NULL;
    if (is_ready && authorities) is_ready = SSL_CTX_load_verify_locations(context, authorities, NULL) == 1;
    if (is_ready && !authorities) is_ready = SSL_CTX_set_default_verify_paths(context) == 1;
    if (is_ready && certificate) is_ready = SSL_CTX_use_certificate_chain_file(context, certificate) == 1;
    if (is_ready && key) is_ready = SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
    if (is_ready) SSL_CTX_set_cert_cb(context, vigie_note_request, &result->wants_certificate);
    if (is_ready) is_ready = (session = SSL_new(context)) != NULL;
    result->is_attempted = is_ready;
    if (is_ready) {
        X509_VERIFY_PARAM *parameters = SSL_get0_param(session);
        if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host) != 1) {
            X509_VERIFY_PARAM_set1_host(parameters, host, 0);
            SSL_set_tlsext_host_name(session, host);
        }
        // The address's refusal above has left an error behind.
        ERR_clear_error();
        errno = 0;
        result->is_done = SSL_set_fd(session, socket_) == 1 && SSL_connect(session) == 1;
    }
    if (!result->is_done) result->alert = vigie_tls_reason(result->reason, sizeof result->reason);
    if (session) {
        X509 *peer = SSL_get1_peer_certificate(session);
        if (peer) {
            result->has_certificate = 1;
            vigie_describe(peer, &result->certificate);
            X509_free(peer);
        }
        if (result->is_done) {
            result->verification = SSL_get_verify_result(session);
            snprintf(result->version, sizeof result->version, "%s", SSL_get_version(session));
            if (result->verification != X509_V_OK)
                snprintf(
                    result->reason, sizeof result->reason, "%s",
                    X509_verify_cert_error_string(result->verification));
            if (size > 0) vigie_ask(session, question, size, result);
            SSL_shutdown(session);
        }
        SSL_free(session);
    }
    SSL_CTX_free(context);
    struct timespec now = {0, 0};
    while (sigtimedwait(&pipe, NULL, &now) > 0) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
