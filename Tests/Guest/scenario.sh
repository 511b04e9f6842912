# Sourced by init.sh, once the simulated chips are there.

# Values that the drivers resolve; test_guest.py knows them too.
simbus set cellar temperature=21.5 humidity=40 pressure=1000
simbus set office temperature=23 humidity=45 co2=800
simbus set porch temperature=5.25 humidity=70 battery=3.9
simbus set attic temperature=28 humidity=30 pressure=1010

echo "DETECT 0"
i2cdetect -y 0
echo "DETECT 1"
i2cdetect -y 1
# A register by a combined transfer, the same by two plain ones, and the chip's answer to its absence.
echo "TRANSFER $(i2ctransfer -y 0 w1@0x76 0xd0 r1) $(i2ctransfer -y 0 w1@0x76 0xd0) $(i2ctransfer -y 0 r1@0x76)"
echo "ABSENT $(i2ctransfer -y 0 r1@0x50 2>&1)"

# The line that feeds the chips, by the tools of either release of libgpiod, of which the second finds no chip by its
# label. The driver keeps the level.
gpiodetect
lines=$(gpiodetect | sed -n 's/ \[cp2112_gpio\].*//p')
drive() {
    if gpioset --version | grep -qF 'libgpiod) v2'; then
        gpioset --toggle 0 --chip "$lines" "$1=$2"
    else
        gpioset "$lines" "$1=$2"
    fi || fail "gpioset $1=$2"
}
drive 5 0
echo "DETECT without power"
i2cdetect -y 0
drive 5 1
# The SCD41 needs a second to start.
wait_for 30 i2ctransfer -y 0 w2@0x62 0x36 0x82

# At first without the supply's line: the gateway would take the power from all chips to revive one.
grep -v sensor_power /gateway.yaml >/run/gateway.yaml
vigie-gateway run --config /run/gateway.yaml 2>/run/gateway.log &
gateway_process=$!

all="cellar office porch attic"
phase starting
wait_for 120 have 1 "faults = ''" $all

# A phase is judged whole; what is sampled in between is not.
phase calm
wait_for 120 have 2 TRUE $all

phase between
simbus unplug 0:0x76
phase unplugged
wait_for 120 have 4 TRUE $all

phase between
simbus plug 0:0x76
simbus set cellar temperature=-7.5 humidity=85 pressure=960
simbus set office temperature=31 humidity=55 co2=2400
simbus set porch temperature=-12 humidity=20 battery=3.3
simbus set attic temperature=45 humidity=12 pressure=1040
phase between
wait_for 120 have 1 "faults = '' AND (pressure < 970 OR co2 > 2000 OR battery_voltage < 3.5 OR temperature > 40)" $all

phase changed
wait_for 120 have 1 TRUE $all

phase between
simbus stick office/scd41
simbus wedge 1
phase stuck
wait_for 120 have 1 "faults LIKE '%scd41:%' OR faults LIKE '%bme280:%'" office attic
wait_for 120 have 4 TRUE cellar porch

phase between
simbus heal
phase between
wait_for 120 have 1 "faults = ''" $all

phase healed
wait_for 120 have 1 TRUE $all
phase between

# The gateway's own lines: an edge that it is told of, the supply that it holds, a light that flashes.
wait_for 30 metric_is vigie_board_power_good 1
simbus line power_good low
wait_for 30 metric_is vigie_board_power_good 0
simbus line power_good high
wait_for 30 metric_is vigie_board_power_good 1
echo "EDGES $(metric 'vigie_board_edges_total{line="power_good"}')"
flashing() { [ "$(line 6 changes)" -ge 4 ]; }
wait_for 30 flashing
echo "LIGHT $(line 6 direction)"
kill $gateway_process
wait $gateway_process
echo "GATEWAY $?"

# With the supply's line: a chip that hangs is revived by taking its power, which nothing else does.
before=$(line 5 changes)
vigie-gateway run --config /gateway.yaml 2>>/run/gateway.log &
gateway_process=$!
phase between
wait_for 120 have 1 "faults = ''" cellar
simbus fault 0:0x76 nack
phase hanging
wait_for 120 have 1 "faults LIKE '%bme280:%'" cellar
wait_for 120 metric_is vigie_board_sensor_power_cycles_total 1
phase between
wait_for 120 have 1 "faults = ''" cellar
phase revived
wait_for 120 have 1 TRUE cellar
phase between
echo "SUPPLY $(line 5 direction) $(line 5 level) $(($(line 5 changes) - before)) changes"
kill $gateway_process
wait $gateway_process
echo "GATEWAY $?"
kill $simbus_process
wait $simbus_process
echo "SIMBUS $?"
adapters() { ls /sys/bus/i2c/devices | grep -c '^i2c-'; }
gone() { [ "$(adapters)" = 0 ]; }
wait_for 30 gone
echo "ADAPTERS $(adapters)"

sqlite3 /run/outbox.sqlite "VACUUM INTO '/run/copy.sqlite'"
echo "OUTBOX BEGIN"
gzip -c /run/copy.sqlite | base64
echo "OUTBOX END"
echo "GATEWAY LOG"
cat /run/gateway.log
echo "DONE $(cut -d' ' -f1 /proc/uptime)"
