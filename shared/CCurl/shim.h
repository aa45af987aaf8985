#include <stddef.h>
#include <stdint.h>
#include <curl/curl.h>
