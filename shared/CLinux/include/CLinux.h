#pragma once
// What glibc offers only under _GNU_SOURCE, and so hides from Swift's Glibc module.
void linux_set_thread_name(const char *_Nonnull name);
