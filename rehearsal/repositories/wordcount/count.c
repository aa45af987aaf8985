#include "count.h"

#include <ctype.h>

struct counts count_stream(FILE *in)
{
    struct counts counts = {0, 0, 0};
    int in_word = 0;
    int byte;

    while ((byte = getc(in)) != EOF) {
        counts.bytes++;
        if (byte == '\n')
            counts.lines++;
        if (isspace(byte)) {
            in_word = 0;
        } else if (!in_word) {
            in_word = 1;
            counts.words++;
        }
    }
    return counts;
}
