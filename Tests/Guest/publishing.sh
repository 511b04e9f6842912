# Sourced by init.sh, once the simulated chips are there: the gateway publishes to the Kafka of the host.
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
# Kafka tells its clients an address of loopback, which here leads to the host's.
nc -ll -p "$kafka_port" -e nc 10.0.2.2 "$kafka_port" &

# An SCD4x needs a second to start.
wait_for 30 i2ctransfer -y 0 w2@0x62 0x36 0x82
wait_for 30 i2ctransfer -y 2 w2@0x62 0x36 0x82
sed "s/^kafka:.*/kafka: {bootstrap: \"127.0.0.1:$kafka_port\", topic: $kafka_topic, drain_time: 60s}/" /gateway.yaml \
    >/run/gateway.yaml
vigie-gateway run --config /run/gateway.yaml 2>/run/gateway.log &
gateway_process=$!
# Some 14 s of seven stations: the first measurement of an SCD4x takes 5 s.
published() { [ "$(metric vigie_readings_published_total)" -ge 100 ]; }
wait_for 300 published
kill $gateway_process
wait $gateway_process
echo "GATEWAY $?"
echo "OUTBOX $(sql 'SELECT count(*) FROM reading')"
echo "DONE $(cut -d' ' -f1 /proc/uptime)"
