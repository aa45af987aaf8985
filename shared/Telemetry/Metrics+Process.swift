import Glibc

extension Metrics {
    /// Adds what the kernel knows about this process, under the names that dashboards expect.
    package func addProcess() {
        let pages = Double(sysconf(Int32(_SC_PAGESIZE)))
        gauge("process_resident_memory_bytes", "Memory of the process that lies in RAM.") {
            Metrics.firstLine(of: "/proc/self/statm").flatMap { line in
                let parts = line.split(separator: " ")
                return parts.count > 1 ? Double(parts[1]).map { $0 * pages } : nil
            }
        }
        counter("process_cpu_seconds_total", "Processor time the process has used.") {
            var usage = timespec()
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &usage)
            return Double(usage.tv_sec) + Double(usage.tv_nsec) / 1e9
        }
        gauge("process_open_fds", "Descriptors the process holds open.") {
            guard let directory = opendir("/proc/self/fd") else { return nil }
            defer { closedir(directory) }
            var count = -3  // ".", ".." and the one that lists them
            while readdir(directory) != nil { count += 1 }
            return Double(count)
        }
        gauge("process_max_fds", "Descriptors the process may hold open.") {
            var limit = rlimit()
            guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
            return Double(limit.rlim_cur)
        }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        gauge("process_start_time_seconds", "When the process started, since 1970.").set(Double(now.tv_sec))
    }

    private static func firstLine(of path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var line = [UInt8](repeating: 0, count: 512)
        let count = fread(&line, 1, line.count, file)
        return String(decoding: line.prefix(count).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
