#pragma once
#include <stddef.h>
#include <stdint.h>
#include <curl/curl.h>

// curl_easy_setopt and curl_easy_getinfo are variadic, which Swift cannot call: one function for each argument type.
typedef int (*bg_curl_sockopt)(void *context, curl_socket_t socket, curlsocktype purpose);

static inline CURLcode bg_curl_set_long(CURL *easy, CURLoption option, long value)
{
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode bg_curl_set_offset(CURL *easy, CURLoption option, int64_t value)
{
    return curl_easy_setopt(easy, option, (curl_off_t)value);
}
static inline CURLcode bg_curl_set_string(CURL *easy, CURLoption option, const char *value)
{
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode bg_curl_set_pointer(CURL *easy, CURLoption option, const void *value)
{
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode bg_curl_set_list(CURL *easy, CURLoption option, struct curl_slist *value)
{
    return curl_easy_setopt(easy, option, value);
}
// WRITEFUNCTION, HEADERFUNCTION and READFUNCTION share this shape.
static inline CURLcode bg_curl_set_callback(CURL *easy, CURLoption option, curl_write_callback value)
{
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode bg_curl_set_sockopt(CURL *easy, bg_curl_sockopt value)
{
    return curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, value);
}
static inline long bg_curl_get_long(CURL *easy, CURLINFO what)
{
    long value = 0;
    curl_easy_getinfo(easy, what, &value);
    return value;
}
static inline CURLMcode bg_curl_set_multi_long(CURLM *multi, CURLMoption option, long value)
{
    return curl_multi_setopt(multi, option, value);
}
