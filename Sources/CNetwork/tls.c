// One TLS handshake with OpenSSL, and what certificates say.
#define _GNU_SOURCE
#include "network.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static long long seconds(const ASN1_TIME *time_) {
    struct tm parts;
    return time_ && ASN1_TIME_to_tm(time_, &parts) == 1 ? (long long)timegm(&parts) : 0;
}

static void describe(X509 *certificate, vigie_certificate *result) {
    X509_NAME_oneline(X509_get_subject_name(certificate), result->subject, sizeof result->subject);
    X509_NAME_oneline(X509_get_issuer_name(certificate), result->issuer, sizeof result->issuer);
    result->not_before = seconds(X509_get0_notBefore(certificate));
    result->not_after = seconds(X509_get0_notAfter(certificate));
}

// Copies OpenSSL's last reason. Returns the alert of the other side (RFC 8446, 6) that it is, or 0.
static int tls_reason(char *reason, size_t size) {
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, reason, size);
    else snprintf(reason, size, "%s", errno ? strerror(errno) : "the connection was closed");
    ERR_clear_error();
    int is_alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET
        && ERR_GET_REASON(code) < SSL_AD_REASON_OFFSET + 256;
    return is_alert ? ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET : 0;
}

int vigie_read_certificate(const char *path, vigie_certificate *result, char *reason, size_t size) {
    errno = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(reason, size, "%s", strerror(errno));
        return -1;
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (!certificate) {
        tls_reason(reason, size);
        return -1;
    }
    describe(certificate, result);
    X509_free(certificate);
    return 0;
}

// Called when the server asks for a certificate.
static int note_request(SSL *session, void *is_asked) {
    (void)session;
    *(int *)is_asked = 1;
    return 1;
}

// Sends a question and waits for the first byte of the answer. In TLS 1.3 a server judges the client's certificate after
// the client's part of the handshake, so only this shows whether it goes on.
static void ask(SSL *session, const void *question, int size, vigie_handshake *result) {
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
    result->alert = tls_reason(result->refusal, sizeof result->refusal);
}

void vigie_shake_hands(
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
    if (is_ready) SSL_CTX_set_cert_cb(context, note_request, &result->wants_certificate);
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
    if (!result->is_done) result->alert = tls_reason(result->reason, sizeof result->reason);
    if (session) {
        X509 *peer = SSL_get1_peer_certificate(session);
        if (peer) {
            result->has_certificate = 1;
            describe(peer, &result->certificate);
            X509_free(peer);
        }
        if (result->is_done) {
            result->verification = SSL_get_verify_result(session);
            snprintf(result->version, sizeof result->version, "%s", SSL_get_version(session));
            if (result->verification != X509_V_OK)
                snprintf(
                    result->reason, sizeof result->reason, "%s",
                    X509_verify_cert_error_string(result->verification));
            if (size > 0) ask(session, question, size, result);
            SSL_shutdown(session);
        }
        SSL_free(session);
    }
    SSL_CTX_free(context);
    struct timespec now = {0, 0};
    while (sigtimedwait(&pipe, NULL, &now) > 0) continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
