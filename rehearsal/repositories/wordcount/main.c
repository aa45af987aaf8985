#include "count.h"

int main(int argc, char **argv)
{
    FILE *in = stdin;

    if (argc > 2) {
        fprintf(stderr, "usage: %s [file]\n", argv[0]);
        return 2;
    }
    if (argc == 2 && (in = fopen(argv[1], "rb")) == NULL) {
        perror(argv[1]);
        return 1;
    }
    struct counts counts = count_stream(in);
    printf("%ld %ld %ld\n", counts.lines, counts.words, counts.bytes);
    return 0;
}
