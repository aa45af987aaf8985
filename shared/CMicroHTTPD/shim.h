#include <stddef.h>
#include <stdint.h>
#include <microhttpd.h>
