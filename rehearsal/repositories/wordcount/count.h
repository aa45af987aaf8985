#ifndef COUNT_H
#define COUNT_H

#include <stdio.h>

struct counts {
    long lines;
    long words;
    long bytes;
};

/* Counts a stream up to its end. */
struct counts count_stream(FILE *in);

#endif
