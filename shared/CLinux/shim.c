#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

void linux_set_thread_name(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = 0; // a longer name is refused (ERANGE), not cut, by the library
    pthread_setname_np(pthread_self(), kept);
}

int linux_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int linux_silence(int fd) {
    int silence = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (silence < 0) return -1;
    int result = dup3(silence, fd, O_CLOEXEC) < 0 ? -1 : 0;
    int reason = errno;
    close(silence);
    errno = reason;
    return result;
}

void linux_eventfd_wake(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

uint64_t linux_eventfd_drain(int fd) {
    uint64_t count = 0;
    ssize_t n;
    while ((n = read(fd, &count, sizeof count)) < 0 && errno == EINTR) {}
    return n == sizeof count ? count : 0;
}

static pthread_mutex_t signal_pipe_lock = PTHREAD_MUTEX_INITIALIZER;
static int signal_pipe[2] = {-1, -1};

static void on_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // The write end does not block: a full pipe already holds 64 KiB of reasons to stop.
    ssize_t ignored = write(signal_pipe[1], &byte, 1);
    (void)ignored;
    errno = saved;
}

int linux_signal_pipe(const int *signals, int count) {
    pthread_mutex_lock(&signal_pipe_lock);
    int result = signal_pipe[0];
    if (result < 0 && pipe2(signal_pipe, O_CLOEXEC) == 0) {
        fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
        result = signal_pipe[0];
    }
    for (int i = 0; result >= 0 && i < count; i++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = on_signal;
        action.sa_flags = SA_RESTART; // C libraries do not all expect EINTR
        sigemptyset(&action.sa_mask);
        if (sigaction(signals[i], &action, NULL) != 0) result = -1;
    }
    pthread_mutex_unlock(&signal_pipe_lock);
    return result;
}

static int add_stream(posix_spawn_file_actions_t *actions, int fd, int target) {
    if (fd < 0)
        return posix_spawn_file_actions_addopen(actions, target, "/dev/null", target == 0 ? O_RDONLY : O_WRONLY, 0);
    return posix_spawn_file_actions_adddup2(actions, fd, target); // also clears close-on-exec when fd == target
}

int linux_start(const struct linux_spawn *spec, int *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (spec->new_session) flags |= POSIX_SPAWN_SETSID;
    if ((error = posix_spawnattr_setflags(&attributes, flags)) ||
        (error = posix_spawnattr_setsigmask(&attributes, &none)) ||
        (error = posix_spawnattr_setsigdefault(&attributes, &all)) ||
        (spec->directory && (error = posix_spawn_file_actions_addchdir_np(&actions, spec->directory))) ||
        (error = add_stream(&actions, spec->standard_input, 0)) ||
        (error = add_stream(&actions, spec->standard_output, 1)) ||
        (error = add_stream(&actions, spec->standard_error, 2)) ||
        (error = posix_spawn_file_actions_addclosefrom_np(&actions, 3)))
        goto done;
    error = posix_spawnp(pid, spec->path, &actions, &attributes, spec->arguments, spec->environment);
done:
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int linux_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
