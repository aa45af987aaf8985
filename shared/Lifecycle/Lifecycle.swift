// Whoever runs services also needs locks and threads: one import for both.
@_exported import Threads
