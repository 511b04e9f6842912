"""What late readings, duplicates and their kin cost the processor beside a stream without them, in one run."""

import statistics

from . import benchmark as common
from .arguments import positive

GATEWAYS, SENSORS, PARTITIONS = 20, 10, 2


def fill(arguments, broker, what):
    """The topics by the share of what is in them, with how many rows come of each."""
    for share in (0.0, *arguments.shares):
        topic = f"benchmark.{what}.{share}"
        common.create_topics(broker, topic, PARTITIONS)
        common.wait_for(
            common.fleet(
                arguments, broker, topic, gateways=GATEWAYS, sensors_per_gateway=SENSORS, count=arguments.messages,
                **({what: share} if share else {}),
            )
        )  # fmt: skip
        yield share, topic


def run(arguments, folder, broker, what, share, topic, number):
    with common.database(arguments, f"benchmark_{number}") as database:
        processor = common.Processor(arguments, folder, database, broker, topic)
        result = processor.measure(arguments.messages, GATEWAYS, expected="any" if share else None)
        result["late"] = processor.connection.execute("SELECT count(*) FROM sensor_data WHERE late").fetchone()[0]
        processor.connection.close()
    print(
        f"{share:.0%} {what}: {result['steady']:,.0f} messages/s steady, "
        f"{result['cpu']:.2f} CPU s per million, {result['rss']:.0f} MB resident at most, "
        f"{result['transactions']} transactions, {result['late']:,} late",
        flush=True,
    )
    return result["steady"]


def measure(arguments, what, then):
    with common.servers(arguments) as (folder, broker):
        topics = list(fill(arguments, broker, what))
        print(f"{arguments.messages:,} messages of {GATEWAYS * SENSORS} sensors on {PARTITIONS} partitions", flush=True)
        ratios = {share: [] for share in arguments.shares}
        for pair in range(arguments.pairs):
            rates = [
                run(arguments, folder, broker, what, share, topic, pair * len(topics) + number)
                for number, (share, topic) in enumerate(topics)
            ]
            for share, rate in zip(arguments.shares, rates[1:], strict=True):
                ratios[share].append(rate / rates[0])
        for share, found in ratios.items():
            print(f"{share:.0%} {what}: {statistics.median(found):.2f} of the rate without", flush=True)
        if then:
            then(arguments, folder, broker)


def main(description, what, shares, then=None):
    """Runs the benchmark of an option of vigie-fleet that takes a share, such as `late`.

    `then` is called with the arguments, the folder and the broker while the servers are still there.
    """
    parser = common.parser(description)
    parser.add_argument("--messages", type=positive, default=1_000_000)
    parser.add_argument("--pairs", type=positive, default=3)
    parser.add_argument("--shares", type=lambda text: [float(share) for share in text.split(",")], default=shares)
    return common.main(lambda arguments: measure(arguments, what, then), parser.parse_args())
