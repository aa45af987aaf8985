-- One event on the next task in turn, for pgbench; every client takes every :clients-th task.
\set i :i + 1
\set n (:i * :clients + :client_id) % :tasks + 1
SELECT append_event(b.task_id, 1, 'agent_error', '{"error_type":"bench","message_preview":"the tests are red"}'::jsonb) FROM bench_tasks b WHERE b.n = :n;
