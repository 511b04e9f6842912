#pragma once
// libcurl, with wrappers for what Swift cannot call: variadic functions.
#include <curl/curl.h>

// Once a process, before any other thread uses libcurl.
static inline CURLcode vigie_curl_global_init(void) { return curl_global_init(CURL_GLOBAL_ALL); }

static inline CURLcode vigie_curl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

// The text is copied, except that of CURLOPT_POSTFIELDS.
static inline CURLcode vigie_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

// Sends `size` bytes by POST; they stay the caller's and must live until the transfer ends.
static inline CURLcode vigie_curl_set_body(CURL *handle, const void *body, curl_off_t size) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_POST, 1L);
    if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, size);
    if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body ? (const char *)body : "");
    return code;
}

// The list stays the caller's.
static inline CURLcode vigie_curl_set_headers(CURL *handle, struct curl_slist *headers) {
    return curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
}

// `sink` gets what the server sends, piece by piece; to take less than it was given ends the transfer.
static inline CURLcode vigie_curl_set_sink(
    CURL *handle, size_t (*sink)(char *bytes, size_t size, size_t count, void *context), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, sink);
    if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
    return code;
}

// `progress` is asked about once a second while a transfer waits, and more often while bytes come; anything but 0 ends it.
static inline CURLcode vigie_curl_set_progress(
    CURL *handle, int (*progress)(void *context, curl_off_t, curl_off_t, curl_off_t, curl_off_t), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, progress);
    if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_XFERINFODATA, context);
    if (code == CURLE_OK) code = curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    return code;
}

// `buffer` has CURL_ERROR_SIZE bytes and lives until another is set.
static inline CURLcode vigie_curl_set_error_buffer(CURL *handle, char *buffer) {
    return curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
}

// The status of the answer; 0 if there was none.
static inline long vigie_curl_status(CURL *handle) {
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}
