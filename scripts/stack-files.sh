# shellcheck shell=bash
# What scripts/stack writes into its run directory: ports, the services' environment, a start script for each
# service and the supervisor's configuration. Sourced by scripts/stack after lib.sh.

BIN=${BGAGENT_BIN_DIR:-$ROOT/.build/${BGAGENT_BUILD:-debug}}
ALL_SERVICES=(
    gateway policy relay orchestrator fanout compute-adapter agent-gateway reconciler dispatch-slack dispatch-github dispatch-email
)
SIMULATORS=(sim-github sim-slack sim-smtp sim-model)
PORT_NAMES=(gateway policy agent-gateway "${SIMULATORS[@]}" sim-smtp-control "${ALL_SERVICES[@]/#/health-}")
declare -A PORTS=()

# Sets SERVICES for a start: the simulators of a rehearsal, then the services asked for.
choose_services() {
    local service asked
    SERVICES=()
    [[ -z $REHEARSAL ]] || SERVICES+=("${SIMULATORS[@]}")
    if [[ -n ${BGAGENT_SERVICES:-} ]]; then
        read -r -a asked <<<"${BGAGENT_SERVICES//,/ }"
        SERVICES+=("${asked[@]}")
    else
        SERVICES+=("${ALL_SERVICES[@]}")
    fi
    for service in "${SERVICES[@]}"; do
        [[ " ${ALL_SERVICES[*]} ${SIMULATORS[*]} " == *" ${service%%.*} "* ]] || die "no such service: $service"
    done
}

# Sets SERVICES to what the last start chose.
load_services() { mapfile -t SERVICES < <(sed -n 's/^SERVICE=//p' "$RUN/stack.mode"); }

# stack.env holds `port NAME NUMBER` and `token HEX`, chosen once.
load_ports() {
    local kind name value
    while read -r kind name value; do
        case $kind in
            port) PORTS[$name]=$value ;;
            token) TOKEN=$name ;;
        esac
    done <"$RUN/stack.env"
}

port_for() {
    [[ -n ${PORTS[$1]:-} ]] || load_ports
    printf '%s\n' "${PORTS[$1]:?}"
}

# Ports are kept over restarts, unless somebody else took one while we were down. Those of further replicas are
# chosen when they first appear.
keep_or_choose_ports() {
    local name wanted=("${PORT_NAMES[@]}") service numbers i
    for service in "${SERVICES[@]}"; do
        [[ $service != *.* ]] || wanted+=("health-$service" "$service")
    done
    if [[ -s $RUN/stack.env ]]; then
        load_ports
        for name in "${!PORTS[@]}"; do
            if port_open "${PORTS[$name]}"; then
                say "port ${PORTS[$name]} was taken by somebody else; choosing others"
                PORTS=()
                break
            fi
        done
    else
        TOKEN=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    fi
    read -r -a numbers < <(free_ports "${#wanted[@]}")
    for i in "${!wanted[@]}"; do
        : "${PORTS[${wanted[i]}]:=${numbers[i]}}"
    done
    {
        for name in "${!PORTS[@]}"; do printf 'port %s %s\n' "$name" "${PORTS[$name]}"; done
        printf 'token %s\n' "$TOKEN"
    } >"$RUN/stack.env.new"
    chmod 600 "$RUN/stack.env.new"
    mv "$RUN/stack.env.new" "$RUN/stack.env"
}

url() { printf 'http://127.0.0.1:%s' "$(port_for "$1")"; }

# `always` is ours to say; `default` yields to what the caller's environment says.
always() { printf 'export %s=%q\n' "$1" "$2"; }
# shellcheck disable=SC2016
default() { printf 'export %s=${%s:-%q}\n' "$1" "$1" "$2"; }

service_environment() {
    always BGAGENT_POSTGRES_URL "$BGAGENT_POSTGRES_URL"
    always BGAGENT_AMQP_URL "$BGAGENT_AMQP_URL"
    always BGAGENT_HEALTH_HOST 127.0.0.1
    always BGAGENT_DATA "$RUN/data"
    always BGAGENT_SECRETS_DIR "$RUN/secrets"
    always BGAGENT_GATEWAY_HOST 127.0.0.1
    always BGAGENT_GATEWAY_PORT "$(port_for gateway)"
    always BGAGENT_POLICY_HOST 127.0.0.1
    always BGAGENT_POLICY_PORT "$(port_for policy)"
    always BGAGENT_POLICY_URL "$(url policy)"
    always BGAGENT_AGENT_GATEWAY_HOST 127.0.0.1
    always BGAGENT_AGENT_GATEWAY_PORT "$(port_for agent-gateway)"
    always BGAGENT_AGENT_GATEWAY_URL "$(url agent-gateway)"
    default BGAGENT_NODE "local${INSTANCE:+-$INSTANCE}"
    default BGAGENT_CAPACITY 4
    default BGAGENT_COMPUTE_BACKEND process
    default BGAGENT_AGENT_COMMAND "$RUN/services/agent"
    default BGAGENT_LOG_LEVEL info
    [[ -n $REHEARSAL ]] || return 0
    always BGAGENT_GITHUB_API_URL "$(url sim-github)"
    always BGAGENT_GITHUB_URL "$(url sim-github)/git"
    always BGAGENT_GITHUB_TOKEN "$TOKEN"
    always BGAGENT_SLACK_API_URL "$(url sim-slack)"
    always BGAGENT_SLACK_TOKEN "$TOKEN"
    default BGAGENT_SLACK_CHANNEL C0BGAGENT
    default BGAGENT_SMTP_URL "smtp://127.0.0.1:$(port_for sim-smtp)"
    default BGAGENT_SMTP_FROM bgagent@localhost
    default BGAGENT_EMAIL_TO team@localhost
    if [[ ${DEMO_MODEL:-} != real ]]; then
        always BGAGENT_MODEL_URL "$(url sim-model)"
        always BGAGENT_MODEL_API_KEY "$TOKEN"
    elif [[ -z ${BGAGENT_MODEL_API_KEY:-}${BGAGENT_MODEL_API_KEY_FILE:-} ]]; then
        die "DEMO_MODEL=real needs BGAGENT_MODEL_API_KEY"
    fi
}

# What a service's start script runs, for `exec`.
command_of() {
    local data=$RUN/rehearsal
    case $1 in
        sim-smtp)
            printf '%q ' "$VENV/bin/python" -m rehearsal smtp --port "$(port_for sim-smtp)" \
                --control-port "$(port_for sim-smtp-control)" --data "$data"
            ;;
        sim-*)
            printf '%q ' "$VENV/bin/python" -m rehearsal "${1#sim-}" --port "$(port_for "$1")" --data "$data" --token "$TOKEN"
            ;;
        policy*) printf '%q ' "$VENV/bin/python" -m bgagent_policy.service ;;
        *)
            [[ -x $BIN/${1%%.*} ]] || die "$BIN/${1%%.*} is not built; run make build"
            printf '%q' "$BIN/${1%%.*}"
            ;;
    esac
}

write_start_script() {
    local service=$1 run
    run=$(command_of "$service")
    {
        printf '#!/usr/bin/env bash\n. %q\n' "$RUN/service.env"
        if [[ $service == sim-* ]]; then
            printf 'export PYTHONPATH=%q PYTHONUNBUFFERED=1\n' "$ROOT"
        else
            always BGAGENT_HEALTH_PORT "$(port_for "health-$service")"
        fi
        case $service in
            policy*) printf 'export PYTHONPATH=%q PYTHONUNBUFFERED=1\n' "$ROOT/services/policy/src" ;;
            gateway.*) always BGAGENT_GATEWAY_PORT "$(port_for "$service")" ;;
            agent-gateway.*) always BGAGENT_AGENT_GATEWAY_PORT "$(port_for "$service")" ;;
            compute-adapter.*) always BGAGENT_NODE "local-$service" ;;
        esac
        printf 'echo $$ >%q\nexec %s\n' "$RUN/pids/$service" "$run"
    } >"$RUN/services/$service"
    chmod 700 "$RUN/services/$service"
}

supervisor_configuration() {
    local service limit
    limit=$(ulimit -Hn)
    [[ $limit != unlimited ]] && ((limit < 65536)) || limit=65536
    cat <<CONFIG
[supervisord]
logfile=$RUN/log/supervisord.log
logfile_maxbytes=10MB
logfile_backups=1
loglevel=info
pidfile=$RUN/supervisord.pid
directory=$ROOT
minfds=$limit
$( ((EUID != 0)) || echo user=root)

[unix_http_server]
file=$RUN/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://$RUN/supervisor.sock

; One group, because a supervisor stops its groups one after the other.
[group:all]
programs=$(IFS=, && echo "${SERVICES[*]}")
CONFIG
    for service in "${SERVICES[@]}"; do
        # A second chance at once, and for ever: the promise is that what dies is back within a second. Only the
        # process itself is stopped, never its group: agents outlive their adapter.
        cat <<CONFIG

[program:$service]
command=$RUN/services/$service
priority=$([[ $service == sim-* ]] && echo 10 || echo 20)
autorestart=true
startsecs=0
startretries=1000000
stopsignal=TERM
stopwaitsecs=12
stopasgroup=false
killasgroup=false
redirect_stderr=true
stdout_logfile=$RUN/log/$service.log
stdout_logfile_maxbytes=50MB
stdout_logfile_backups=1
CONFIG
    done
}

write_files() {
    local service
    mkdir -p "$RUN/services" "$RUN/pids" "$RUN/data" "$RUN/secrets" "$RUN/rehearsal"
    chmod 700 "$RUN/services" "$RUN/data" "$RUN/secrets" "$RUN/rehearsal"
    {
        [[ -z $REHEARSAL ]] || echo REHEARSAL=1
        printf 'SERVICE=%s\n' "${SERVICES[@]}"
    } >"$RUN/stack.mode"
    (umask 077 && service_environment >"$RUN/service.env")
    {
        printf '#!/usr/bin/env bash\nexport PYTHONPATH=%q PYTHONUNBUFFERED=1\n' "$ROOT/agent/src:$ROOT/services/policy/src"
        printf 'exec %q -m bgagent_agent "$@"\n' "$VENV/bin/python"
    } >"$RUN/services/agent"
    chmod 700 "$RUN/services/agent"
    for service in "${SERVICES[@]}"; do write_start_script "$service"; done
    supervisor_configuration >"$RUN/supervisord.conf"
}

# The gateway writes it at its first start.
admin_token_file() { find "$RUN/data/admin-token" -type f -print -quit 2>/dev/null || true; }

# For people, tests and the demo: `eval "$(scripts/stack env)"`.
print_environment() {
    local service name token
    always BGAGENT_API_URL "$(url gateway)"
    always BGAGENT_RUN "$RUN"
    token=$(admin_token_file)
    [[ -z $token ]] || always BGAGENT_TOKEN "$(<"$token")"
    always BGAGENT_BIN_DIR "$BIN"
    sed -nE '/^export BGAGENT_(POSTGRES_URL|AMQP_URL|DATA|SECRETS_DIR|AGENT_GATEWAY_URL)=/p' "$RUN/service.env"
    always BGAGENT_INSTANCE "$INSTANCE"
    for service in "${ALL_SERVICES[@]}"; do
        name=${service//-/_}
        always "BGAGENT_HEALTH_${name^^}" "$(url "health-$service")"
    done
    grep -qx REHEARSAL=1 "$RUN/stack.mode" || return 0
    for service in github slack model; do always "BGAGENT_REHEARSAL_${service^^}_URL" "$(url "sim-$service")"; done
    always BGAGENT_REHEARSAL_SMTP_URL "$(url sim-smtp-control)"
    always BGAGENT_REHEARSAL_TOKEN "$TOKEN"
    always BGAGENT_REHEARSAL_DATA "$RUN/rehearsal"
}
