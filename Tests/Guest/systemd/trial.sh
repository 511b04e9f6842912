# What is done to the services in the guest. It waits for what it can observe, and judges nothing: systemd_guest.py does.
gateway=vigie-gateway.service
outbox=/var/lib/vigie-gateway/outbox.sqlite

# fact NAME VALUE...: for the host.
fact() { echo "FACT $*"; }

seconds() { cut -d. -f1 /proc/uptime; }

fail() {
    echo "FAILED $*"
    systemctl status --no-pager --full --lines 0 vigie-gateway vigie-processor vigie-simbus
    journalctl --no-pager --output short-monotonic --lines 120
    systemctl poweroff --force --force
    sleep 600
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local limit=$(($(seconds) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        (($(seconds) < limit)) || fail "did not come true: $*"
        # Not too often: to ask costs the services processor time.
        sleep 1
    done
}

show() { systemctl show --value --property "$2" "$1"; }
# is UNIT PROPERTY VALUE
is() { [[ $(show "$1" "$2") == "$3" ]]; }
sql() { sqlite3 -readonly "$outbox" "$1"; }

# page PATH: what the gateway answers.
page() {
    local connection
    exec {connection}<>/dev/tcp/127.0.0.1/9464 || return
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&"$connection"
    cat <&"$connection"
    exec {connection}>&-
}
metric() { page /metrics | awk -v name="$1" '$1 == name { print $2 }'; }
metric_is() { [[ $(metric "$1") == "$2" ]]; }
# stored: how many readings the gateway tells of as stored since its start.
stored() { metric vigie_readings_sampled_total; }
tells() { [[ $(stored) ]]; }

# last: the number of the newest reading.
last() { sql 'SELECT coalesce(max(seq), 0) FROM reading'; }
# have COUNT CONDITION: every station has so many readings after the number `since` that fulfil an SQL condition.
have() {
    local stations
    stations=$(sql "SELECT count(*) FROM (SELECT sensor_id FROM reading WHERE seq > $since AND ($2)
        GROUP BY sensor_id HAVING count(*) >= $1)")
    [[ $stations == 7 ]]
}
# sampled: from here on, every station gives a reading without a fault.
sampled() {
    since=$(last)
    wait_for 120 have 1 "faults = ''"
}

readings() {
    echo "READINGS BEGIN"
    sqlite3 -readonly -separator '|' "$outbox" "SELECT seq, boot_id, sensor_id, time_quality, coalesce(faults, ''),
        temperature, humidity, co2, pressure, battery_voltage FROM reading ORDER BY seq"
    echo "READINGS END"
}

# outside: what the kernel says of its clock to who is not confined: 1 synchronised, 0 not. adjtimex(2) changes nothing
# with modes 0; TIME_ERROR is 5, STA_UNSYNC 0x40.
outside() {
    perl -e '$timex = pack("Lx4q4lx4q20", (0) x 26); $state = syscall(159, $timex);
        print $state != 5 && !((unpack("Lx4q4l", $timex))[5] & 0x40) ? 1 : 0'
}
# synchronise: as a program that keeps the time does: ADJ_MAXERROR, ADJ_ESTERROR and ADJ_STATUS with a status of 0.
synchronise() {
    perl -e '$timex = pack("Lx4q4lx4q20", 0x1c, (0) x 25); exit(syscall(159, $timex) < 0)' || fail "adjtimex"
}
# quality NAME: the kernel's clock, and what the readings after `since` say of their times.
quality() { fact "$1" "outside=$(outside)" "inside=$(sql "SELECT group_concat(DISTINCT time_quality) FROM reading WHERE seq > $since")"; }

# Readings that the gateway has told of as stored, until the power goes. `base` came before those that it counts.
until_the_power_goes() {
    base=$(last)
    systemctl restart $gateway || fail "restart"
    wait_for 60 tells
    while :; do
        told=$(stored) && [[ $told ]] && echo "DURABLE $((base + told))"
        sleep 0.1
    done
}

read -r boot < <(sed 's/.*boot=\([0-9]*\).*/\1/' /proc/cmdline)
fact boot "$boot" "$(</proc/sys/kernel/random/boot_id)"

if ((boot > 1)); then
    # What was stored before the power went, before and after the gateway has opened it.
    wait_for 120 is $gateway ActiveState active
    wait_for 60 vigie-simbus status
    sampled
    readings
    if ((boot == 2)); then until_the_power_goes; fi
    # The package's removal stops it, and keeps what it has stored.
    dpkg --remove vigie-gateway >/trial/removal 2>&1 || fail "removal: $(</trial/removal)"
    fact removed "$(show $gateway ActiveState) $(show $gateway Result)" "stored=$(($(last) >= since))"
    echo DONE
    systemctl poweroff --force --force
    sleep 600
fi

# --- The gateway becomes active, at a board that has its chips a moment later.
wait_for 120 is $gateway ActiveState active
fact active "$(show $gateway Type) $(show $gateway SubState) $(show $gateway User) restarts=$(show $gateway NRestarts)"
fact enabled "$(systemctl is-enabled $gateway)"
wait_for 60 vigie-simbus status
while read -ra words; do
    vigie-simbus set "${words[@]}" || fail "vigie-simbus set ${words[*]}"
done </trial/values
sampled
fact devices "$(stat -c '%n %G %a' /dev/i2c-0 /dev/gpiochip* | tr '\n' ';')"
wait_for 30 metric_is vigie_board_power_good 1
vigie-simbus line power_good low
wait_for 30 metric_is vigie_board_power_good 0
vigie-simbus line power_good high
wait_for 30 metric_is vigie_board_power_good 1
fact gpio "$(metric vigie_board_power_good)"
fact files "$(stat -c '%n %U %G %a' /var/lib/vigie-gateway "$outbox" | tr '\n' ';')"

# --- A service reads its own secrets, nobody else's; root replaces one as the page says.
install -m 640 /dev/stdin /etc/vigie/secrets/gateway/kafka <<<replaced
fact secret "$(stat -c '%U %G %a' /etc/vigie/secrets/gateway/kafka)" \
    "gateway=$(runuser -u vigie-gateway -- cat /etc/vigie/secrets/gateway/kafka)" \
    "processor=$(runuser -u vigie-processor -- cat /etc/vigie/secrets/gateway/kafka 2>&1)"

# --- The clock: as the kernel says it outside, so the readings have it.
quality unsynchronised
synchronise
sampled
since=$(last)
wait_for 60 have 1 TRUE
quality synchronised

# --- Memory, after some minutes of sampling; what is in the page cache counts.
memory=/sys/fs/cgroup/system.slice/$gateway

# --- Beside the hang: the processor, whose database is away, and a wrong setting of it.
hung=$(show $gateway MainPID)
began=$(seconds)
fact memory "$(cat $memory/memory.current $memory/memory.peak $memory/pids.current | tr '\n' ' ')" \
    "$(grep -E '^(anon|file) ' $memory/memory.stat | tr '\n' ' ')"
kill -STOP "$hung"
sleep 1
at_hang=$(last)

systemctl start vigie-processor
fact processor "$(show vigie-processor ActiveState) $(show vigie-processor SubState)"
waiting() { journalctl --unit vigie-processor --output cat | grep 'the database is away'; }
wait_for 60 waiting
systemctl stop vigie-processor
fact processor-stopped "$(show vigie-processor Result) $(show vigie-processor ExecMainStatus)"
echo 'log_level: shout' >>/etc/vigie/processor.yaml
systemctl start vigie-processor
wait_for 30 is vigie-processor ActiveState failed
sleep 12
fact processor-wrong "$(show vigie-processor ActiveState) $(show vigie-processor ExecMainStatus) restarts=$(show vigie-processor NRestarts)"

# --- The gateway was hung: its watchdog has ended it, and it is started again.
restarted() { is $gateway NRestarts 1 && is $gateway ActiveState active; }
wait_for 240 restarted
fact hang "$(($(seconds) - began)) before=$hung after=$(show $gateway MainPID)"
journalctl --unit $gateway --output cat --no-pager | sed -n 's/.*Watchdog timeout/FACT watchdog &/p'
sampled

# --- It is stopped, and loses nothing of what it has told.
wait_for 60 tells
told=$(stored)
systemctl stop $gateway
fact stopped "$(show $gateway Result) $(show $gateway ExecMainStatus)" "told=$((at_hang + told)) stored=$(last)"

# --- An upgrade of its package leaves a stopped service stopped, and starts a running one again.
dpkg --install /trial/next.deb >/trial/upgrade 2>&1 || fail "upgrade: $(</trial/upgrade)"
fact upgraded-stopped "$(show $gateway ActiveState) $(systemctl is-enabled $gateway)"
systemctl start $gateway || fail "start"
sampled
old=$(show $gateway MainPID)
dpkg --install /trial/next.deb >/trial/upgrade 2>&1 || fail "upgrade: $(</trial/upgrade)"
sampled
fact upgraded-running "$(show $gateway ActiveState) $(show $gateway Result) old=$old new=$(show $gateway MainPID)"
systemctl stop $gateway

# --- A wrong setting is no loop.
cp /etc/vigie/gateway.yaml /run/right.yaml
sed -i 's/interval: 1s/interval: soon/' /etc/vigie/gateway.yaml
systemctl start $gateway
wait_for 30 is $gateway ActiveState failed
sleep 12
fact wrong "$(show $gateway ActiveState) $(show $gateway ExecMainStatus) restarts=$(show $gateway NRestarts)"
cp /run/right.yaml /etc/vigie/gateway.yaml

# --- The device policy. The unit loads the module itself, so that it is allowed what comes of it.
rmmod i2c_dev || fail "rmmod"
fact unloaded "$(find /dev -name 'i2c-*' | wc -l)"
systemctl start $gateway || fail "start"
sampled
fact loaded-by-the-unit "$(sql "SELECT count(DISTINCT sensor_id) FROM reading WHERE seq > $since AND faults = ''")"
# What happens where it cannot: the module comes when the unit runs, and the devices stay forbidden until a restart.
systemctl stop $gateway
rmmod i2c_dev || fail "rmmod"
module=$(modinfo --field filename i2c_dev)
mv "$module" /run/i2c-dev.ko
systemctl start $gateway || fail "start"
insmod /run/i2c-dev.ko || fail "insmod"
udevadm settle
since=$(last)
wait_for 60 have 2 "faults != ''"
fact late "$(stat -c '%G %a' /dev/i2c-0)" "good=$(sql "SELECT count(*) FROM reading WHERE seq > $since AND faults = ''")"
sql "SELECT DISTINCT faults FROM reading WHERE seq > $since" | sed 's/^/FACT late-faults /'
mv /run/i2c-dev.ko "$module"
systemctl restart $gateway
sampled
fact late-restarted "$(sql "SELECT count(DISTINCT sensor_id) FROM reading WHERE seq > $since AND faults = ''")"

# --- A secret by LoadCredential=, as the page says it.
mkdir -p /run/systemd/system/$gateway.d /etc/vigie/credentials
install -m 600 /dev/stdin /etc/vigie/credentials/kafka <<<credential
printf '[Service]\nLoadCredential=kafka:/etc/vigie/credentials/kafka\n' >/run/systemd/system/$gateway.d/secret.conf
sed -i "s|password_file: [^,}]*|password_file: /run/credentials/$gateway/kafka|" /etc/vigie/gateway.yaml
systemctl daemon-reload
systemctl restart $gateway || fail "restart"
fact credential "$(runuser -u vigie-gateway -- cat /run/credentials/$gateway/kafka)" \
    "$(stat -c %a /run/credentials/$gateway/kafka)" \
    "$(runuser -u vigie-processor -- cat /run/credentials/$gateway/kafka 2>&1)"
sampled
readings
until_the_power_goes
