-- Sends the requests named in the file BENCH_REQUESTS, one `METHOD path token` a line, over and over, as fast as
-- answers come; prints one line of JSON at the end.
local requests, at = {}, 0

function init(_)
    for line in io.lines(os.getenv("BENCH_REQUESTS")) do
        local method, path, token = line:match("(%S+) (%S+) (%S+)")
        local headers, body = { ["Authorization"] = "Bearer " .. token }, nil
        if method == "POST" then
            headers["Content-Type"] = "application/json"
            body = os.getenv("BENCH_BODY")
        end
        requests[#requests + 1] = wrk.format(method, path, headers, body)
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,"broken":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
