# Settings for install, run, stop, rx and docker-entrypoint.  Sourced, never executed.
# Everything here can be overridden from the environment.

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# The Debian root file system that holds Asterisk.
: "${PEERS_DIR:=/var/cache/cxmld-peers}"
ROOTFS=$PEERS_DIR/asterisk
STAMP=$ROOTFS/.cxmld-installed

# Everything binds this address; ./run insists on 127.0.0.0/8.
: "${ASTERISK_HOST:=127.0.0.1}"
: "${ASTERISK_SIP_PORT:=5070}"                          # UDP and TCP
: "${ASTERISK_TLS_PORT:=$((ASTERISK_SIP_PORT + 1))}"    # TLS
: "${ASTERISK_TLS_FILES:=}"                             # folder with cert.pem, key.pem, ca.pem; empty: self-signed
: "${ASTERISK_TLS_MUTUAL:=no}"                          # yes: both sides show certificates of ca.pem
: "${ASTERISK_HTTP_PORT:=8088}"                         # ARI
: "${ASTERISK_AMI_PORT:=5038}"                          # AMI
: "${ASTERISK_RTP_START:=20000}"
: "${ASTERISK_RTP_END:=20199}"

# Where the user agent under test listens (the static contact of the trunk).
: "${CXMLD_HOST:=127.0.0.1}"
: "${CXMLD_PORT:=5060}"
# Whose requests belong to the trunk.
: "${ASTERISK_TRUSTED:=127.0.0.0/8}"

# One instance = one SIP port; several can run side by side when every port
# above differs.
: "${ASTERISK_INSTANCE:=$ASTERISK_SIP_PORT}"
INST=/var/lib/cxmld-peer/$ASTERISK_INSTANCE             # path inside ROOTFS

die() { echo "${0##*/}: $*" >&2; exit 1; }

# fill_config DIR MODDIR OUT: writes the templates of config/ to OUT/etc with their
# placeholders replaced; DIR is the instance folder as Asterisk sees it.
fill_config() {
    local f n
    mkdir -p "$3"/{etc,run,log,db,spool,cache,tls}
    if [ -n "$ASTERISK_TLS_FILES" ]; then
        cp "$ASTERISK_TLS_FILES"/{cert,key,ca}.pem "$3/tls/"
    else
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:$ASTERISK_HOST" \
            -keyout "$3/tls/key.pem" -out "$3/tls/cert.pem" 2>/dev/null
        cp "$3/tls/cert.pem" "$3/tls/ca.pem"
    fi
    for f in "$HERE"/config/*.conf; do
        sed -e "s#@DIR@#$1#g" \
            -e "s#@MODDIR@#$2#g" \
            -e "s#@HOST@#$ASTERISK_HOST#g" \
            -e "s#@SIP_PORT@#$ASTERISK_SIP_PORT#g" \
            -e "s#@TLS_PORT@#$ASTERISK_TLS_PORT#g" \
            -e "s#@TLS_MUTUAL@#$ASTERISK_TLS_MUTUAL#g" \
            -e "s#@HTTP_PORT@#$ASTERISK_HTTP_PORT#g" \
            -e "s#@AMI_PORT@#$ASTERISK_AMI_PORT#g" \
            -e "s#@RTP_START@#$ASTERISK_RTP_START#g" \
            -e "s#@RTP_END@#$ASTERISK_RTP_END#g" \
            -e "s#@CXMLD_HOST@#$CXMLD_HOST#g" \
            -e "s#@CXMLD_PORT@#$CXMLD_PORT#g" \
            -e "s#@TRUSTED@#$ASTERISK_TRUSTED#g" \
            "$f" >"$3/etc/${f##*/}"
    done
    # Present but empty, so that the log isn't full of "Unable to load".
    for n in acl ccss cdr cel features pjproject statsd udptl; do
        [ -e "$3/etc/$n.conf" ] || : >"$3/etc/$n.conf"
    done
    if grep -n '@[A-Z_]*@' "$3"/etc/*.conf; then die "unknown placeholder"; fi
}

in_root() { chroot "$ROOTFS" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                HOME=/root LANG=C.UTF-8 TERM=dumb "$@"; }

# Asterisk CLI of this instance:  ast_rx 'core show channels'
ast_rx() { in_root asterisk -C "$INST/etc/asterisk.conf" -rx "$1"; }

# Prints the pid of this instance's asterisk, fails if it is not running.
ast_pid() {
    local pid
    pid=$(cat "$ROOTFS$INST/run/asterisk.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$INST/etc/asterisk.conf" || return 1
    echo "$pid"
}

# Clean stop: CLI first, then SIGTERM, then SIGKILL, always by pid.
ast_stop() {
    local pid i
    pid=$(ast_pid) || return 0
    ast_rx 'core stop now' >/dev/null 2>&1 || kill -TERM "$pid" 2>/dev/null
    for i in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || return 0
        [ "$i" = 50 ] && kill -TERM "$pid" 2>/dev/null
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    sleep 0.2
    return 0
}
