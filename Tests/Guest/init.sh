#!/bin/busybox sh
# BusyBox' shell; scripts that it reads use its variables.
# shellcheck shell=dash disable=SC1090,SC2013,SC2034
# What happens in the guest: simulated chips in Debian's kernel, the gateway on top of it, and a scenario: one trouble
# after the other (troubles.sh), or readings on their way to Kafka (publishing.sh). It waits for what it can observe, and judges nothing: the console and the outbox go to the host, which does.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /run
dmesg -n 1
ip link set lo up

fail() {
    echo "FAILED $*"
    echo "--- vigie-simbus"
    cat /run/simbus.log
    echo "--- vigie-gateway"
    tail -n 60 /run/gateway.log
    echo "--- outbox"
    sql "SELECT seq, boot_time, sensor_id, faults, temperature, co2 FROM reading ORDER BY seq DESC LIMIT 20" 2>&1
    echo "--- kernel"
    dmesg | tail -n 30
    poweroff -f
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    limit=$(($(cut -d. -f1 /proc/uptime) + $1))
    shift
    until "$@" 2>/dev/null; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$limit" ] || fail "did not come true: $*"
        # Not too often: to ask costs the gateway's processor time.
        usleep 300000
    done
}

sql() {
    sqlite3 -readonly /run/outbox.sqlite "$1"
}

# have COUNT CONDITION SENSOR...: so many readings of this phase fulfil an SQL condition, of each of the sensors.
have() {
    count=$1 condition=$2
    shift 2
    names=$(printf "'%s'," "$@")
    [ "$(sql "SELECT count(*) FROM (SELECT sensor_id FROM reading WHERE boot_time > $since AND ($condition)
        AND sensor_id IN (${names%,}) GROUP BY sensor_id HAVING count(*) >= $count)")" -eq $# ]
}

# phase NAME: it begins, and the one before it ends. Milliseconds since the guest's start.
phase() {
    since=$(awk '{ printf "%d", $1 * 1000 }' /proc/uptime)
    echo "PHASE $1 $since"
}

# metric NAME: its value.
metric() {
    wget -qO- http://127.0.0.1:9464/metrics | awk -v name="$1" '$1 == name { print $2 }'
}

# metric_is NAME VALUE
metric_is() {
    [ "$(metric "$1")" = "$2" ]
}

# line OFFSET MEMBER: what vigie-simbus says of a line, such as its level.
line() {
    vigie-simbus status --json | sed -n "s/.*{\"line\":$1,\([^}]*\)}.*/\1/p" | sed -n "s/.*\"$2\":\"\{0,1\}\([a-z0-9]*\).*/\1/p"
}

simbus() {
    vigie-simbus "$@" || fail "vigie-simbus $*"
}

# show NAME COMMAND...: what a command prints on standard output and how it ends, for the host. Several may run at once.
show() {
    name=$1
    shift
    "$@" >/run/"$name".out 2>/run/"$name".err
    echo "STATUS $?" >>/run/"$name".err
}

# told NAME...: puts on the console what `show` kept.
told() {
    for name in "$@"; do
        echo "OUTPUT $name BEGIN"
        cat /run/"$name".out
        echo "ERRORS"
        cat /run/"$name".err
        echo "OUTPUT $name END"
    done
}

uname -rm
for module in /modules/*; do insmod "$module" || fail "insmod $module"; done
vigie-simbus run --config /gateway.yaml >/run/simbus.log 2>&1 &
simbus_process=$!
wait_for 60 vigie-simbus status
vigie-simbus status
# Values that the drivers resolve; board.py knows them too.
simbus set cellar temperature=21.5 humidity=40 pressure=1000
simbus set office temperature=23 humidity=45 co2=800
simbus set porch temperature=5.25 humidity=70 battery=3.9
simbus set kitchen temperature=20 humidity=48 voc_index=110 pm2_5=8.5
simbus set attic temperature=28 humidity=30 pressure=1010
simbus set shed temperature=16 humidity=52 pressure=1005
simbus set hall temperature=19 humidity=50 pressure=990
simbus set loft temperature=34.5 humidity=25 pressure=980
simbus set annex temperature=12 humidity=60 co2=500

for word in $(cat /proc/cmdline); do
    case $word in
        scenario=*) scenario=${word#scenario=} ;;
        kafka_port=*) kafka_port=${word#kafka_port=} ;;
        kafka_topic=*) kafka_topic=${word#kafka_topic=} ;;
    esac
done
. /"$scenario".sh
poweroff -f
