#pragma once
// Sockets, whose constants are enumerations and macros in C, and one TLS handshake with OpenSSL. Calls block; their bounds
// are milliseconds.
#include <netdb.h>
#include <stddef.h>

// Looks a name up (getaddrinfo(3)); 0, or an EAI_ code. freeaddrinfo is the caller's.
int vigie_resolve(const char *host, const char *port, struct addrinfo **result);

// Connects to a Unix socket, whose reads and writes have the bound then. Returns the socket, or -1 with the error number
// in *code.
int vigie_connect_unix(const char *path, int milliseconds, int *code);

// Connects a socket within `milliseconds`, after which its reads and writes have the same bound. Returns the socket, or
// -1 with the error number in *code.
int vigie_connect(const struct addrinfo *address, int milliseconds, int *code);

// Whether an address could be listened on, without doing so for longer than the call: 0 or the error number.
int vigie_try_listening(const struct addrinfo *address);

// What a certificate says.
typedef struct {
    char subject[256];
    char issuer[256];
    long long not_before, not_after;  // Seconds since the epoch.
} vigie_certificate;

// The first certificate of a PEM file: 0, or -1 with a reason.
int vigie_read_certificate(const char *path, vigie_certificate *result, char *reason, size_t size);

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

// Makes one TLS handshake on a connected socket, and then asks the question, if there is one. The certificate is judged
// and not insisted on, so that it can be shown.
//   authorities: PEM file of those that may vouch for the server; NULL means the system's.
//   certificate, key: PEM files of the client's own; NULL for none.
//   question, size: what is sent after the handshake; 0 bytes for nothing.
void vigie_shake_hands(
    int socket, const char *host, const char *authorities, const char *certificate, const char *key,
    const void *question, int size, vigie_handshake *result);
