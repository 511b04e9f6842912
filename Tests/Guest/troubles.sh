# Sourced by init.sh, once the simulated chips are there.

echo "DETECT 0"
i2cdetect -y 0
echo "DETECT 1"
i2cdetect -y 1
echo "DETECT 2"
i2cdetect -y 2
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

# What a person at the board asks, before a gateway has the buses; each has its own.
# only PARTS: the configuration with these parts of the stations.
only() {
    awk -v parts="$1" '$1 == "#" && $2 == "part" { skip = !index(parts, substr($3, 1, 1)) } !skip' /gateway.yaml \
        >/run/"$1".yaml
}
phase asking
for parts in A B C D; do only $parts; done
show scan vigie-gateway scan --config /gateway.yaml --multiplexers --json
show sample-json vigie-gateway sample --config /run/A.yaml --json &
sampling=$!
show sample-B vigie-gateway sample --config /run/B.yaml
show sample-C vigie-gateway sample --config /run/C.yaml
show calibrate vigie-gateway calibrate show --config /run/D.yaml --json
wait $sampling
told scan sample-json sample-B sample-C calibrate

# At first without the supply's line: the gateway would take the power from all chips to revive one.
grep -v sensor_power /gateway.yaml >/run/gateway.yaml
vigie-gateway run --config /run/gateway.yaml 2>/run/gateway.log &
gateway_process=$!

all="cellar office porch kitchen attic shed hall loft annex"
phase starting
wait_for 120 have 1 "faults = ''" $all

# A phase is judged whole; what is sampled in between is not.
phase calm
wait_for 120 have 2 TRUE $all

# Something else on each bus, at once. The chip in the attic is unplugged and put back over and over, while another
# program uses its bus.
replug() {
    while [ ! -e /run/enough ]; do
        simbus unplug 1:0x77
        usleep 300000
        simbus plug 1:0x77
        usleep 300000
    done
}
load() {
    while [ ! -e /run/enough ]; do i2ctransfer -y 1 w1@0x50 0xd0 r1 2>/dev/null; done
}
phase between
simbus unplug 0:0x76
simbus fault porch/sht4x nack
simbus fault hall/bmp280 saturate
simbus fault loft/sht3x crc
replug &
replugging=$!
load &
loading=$!
phase disturbed
wait_for 120 have 1 "faults != ''" attic
wait_for 120 have 4 TRUE $all

phase between
touch /run/enough
wait $replugging $loading
simbus heal
simbus set cellar temperature=-7.5 humidity=85 pressure=960
simbus set office temperature=31 humidity=55 co2=2400
simbus set porch temperature=-12 humidity=20 battery=3.3
simbus set kitchen temperature=26.5 humidity=62 voc_index=240 pm2_5=35
simbus set attic temperature=45 humidity=12 pressure=1040
simbus set shed temperature=24 humidity=95 pressure=970
simbus set hall temperature=9 humidity=90 pressure=1020
simbus set loft temperature=55 humidity=8 pressure=1030
simbus set annex temperature=17.5 humidity=35 co2=5000
phase between
wait_for 120 have 1 "faults = '' AND round(temperature) IN (-8, -7, 31, -12, 26, 27, 45, 24, 9, 55, 17, 18)" $all

phase changed
wait_for 120 have 1 TRUE $all

phase between
simbus stick office/scd41
simbus fault porch/ads1115 saturate
simbus wedge 1
simbus unplug 2:0x70
phase stuck
wait_for 120 have 1 "faults LIKE '%scd41:%' OR faults LIKE '%bme280:%' OR faults LIKE '%:multiplexer%'" office attic hall loft
wait_for 120 have 4 TRUE cellar porch annex

phase between
simbus heal
phase between
wait_for 120 have 1 "faults = ''" $all

phase healed
wait_for 120 have 1 TRUE $all
phase between
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

# Meanwhile: who comes second is refused a bus, and the gateway's own lines. An edge that it is told of, the supply that
# it holds, a light that flashes.
echo "HOLDER $gateway_process"
show busy-scan vigie-gateway scan --config /gateway.yaml --bus 1
show busy-sample vigie-gateway sample --config /gateway.yaml
show doctor vigie-gateway doctor --config /gateway.yaml --json
told busy-scan busy-sample doctor
wait_for 30 metric_is vigie_board_power_good 1
simbus line power_good low
wait_for 30 metric_is vigie_board_power_good 0
simbus line power_good high
wait_for 30 metric_is vigie_board_power_good 1
echo "EDGES $(metric 'vigie_board_edges_total{line="power_good"}')"
flashing() { [ "$(line 6 changes)" -ge 4 ]; }
wait_for 30 flashing
echo "LIGHT $(line 6 direction)"

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
