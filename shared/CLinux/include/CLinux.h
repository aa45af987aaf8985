#pragma once
// What Linux offers and Swift's Glibc module does not: functions that glibc hides behind _GNU_SOURCE,
// and the few that may only be called between fork and exec, or inside a signal handler.
#include <stddef.h>
#include <stdint.h>

// Names the calling thread as `top -H` and core dumps show it; the kernel keeps the first 15 bytes.
void linux_set_thread_name(const char *_Nonnull name);

// A non-blocking, close-on-exec counter that `poll` can wait for; -1 and errno on failure.
int linux_eventfd(void);
// Puts in the place of what the descriptor was, which is closed unless somebody else holds it, something that never
// becomes readable; the number stays open. -1 and errno on failure, and nothing has changed.
int linux_silence(int fd);
// Makes the descriptor readable. Never blocks; a counter that is full already wakes the reader.
void linux_eventfd_wake(int fd);
// Takes what was written; 0 when nothing was.
uint64_t linux_eventfd_drain(int fd);

// Installs a handler for each signal that writes the signal's number into a pipe, and returns the end to read
// from (close-on-exec, blocking); -1 and errno on failure. One pipe for the process: a second call adds signals
// and returns the same end. A handler, unlike SIG_IGN, does not survive exec into children.
int linux_signal_pipe(const int *_Nonnull signals, int count);

// A process to start. Descriptors not named here are closed in the child.
struct linux_spawn {
    const char *_Nonnull path;                                // absolute, or searched for in the parent's PATH
    char *_Nullable const *_Nonnull arguments;                // argv, null-terminated
    char *_Nullable const *_Nonnull environment;              // envp, null-terminated: nothing is inherited
    const char *_Nullable directory;                          // working directory; null = the parent's
    int standard_input, standard_output, standard_error;      // -1 = /dev/null
    int new_session;                                          // 1 = setsid: the child leads a process group of its own
};
// Starts it with default signal dispositions and an empty signal mask. 0, or the errno of what failed.
int linux_start(const struct linux_spawn *_Nonnull spec, int *_Nonnull pid);

// Makes orphaned descendants children of this process, so that it can reap them. 0 or -1 and errno.
int linux_become_subreaper(void);
