// The library's types and functions get their width from this macro, so it stands before the header.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <stddef.h>
#include <stdint.h>
#include <pcre2.h>
