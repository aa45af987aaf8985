#!/usr/bin/env bash
# Runs one task without the platform: agent/run.sh OWNER/REPO ISSUE|"TEXT" ["MORE"]. `agent/run.sh --help` says more.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# The checkout's own environment has the agent's packages; a container brings its own, and any Python will do.
python=${BGAGENT_VENV:-$root/../.venv}/bin/python
[[ -x $python ]] || python=python3
export PYTHONPATH=$root/src:$root/../services/policy/src PYTHONDONTWRITEBYTECODE=1
exec "$python" -m bgagent_agent.local.launch "$@"
