"""Three nodes of Apache Kafka: elections, one that is away, and proxies before them."""

import unittest

from support import error_of, folder_of, kafka, receive, send

from vigie_harness.kafka import KafkaCluster


class Three(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = KafkaCluster(kafka(), folder_of(cls), nodes=3, with_proxies=True)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.settings = cls.cluster.client_settings()

    def test_another_leads_when_the_leader_is_killed(self):
        admin = self.cluster.admin
        admin.create_topic("led", partitions=1)
        self.assertEqual(len(admin.metadata().topics["led"].partitions[0].replicas), 3)
        send(self.settings, "led", "one", acks="all")
        leader = admin.leader("led")
        self.cluster.node(leader).kill()
        admin.wait_until("another leads", lambda: admin.leader("led") not in (leader, -1))
        send(self.settings, "led", "two", acks="all")
        self.cluster.node(leader).start()
        admin.wait_for_topic("led", 1)
        self.assertEqual(receive(self.settings, "led", 2, group="led"), ["one", "two"])

    def test_an_unclean_election_loses_what_was_acknowledged(self):
        admin = self.cluster.admin
        # Two of three, so that a quorum of controllers is there while one of the two is not.
        settings = {"min.insync.replicas": 1, "unclean.leader.election.enable": "true"}
        admin.create_topic("unclean", replicas=2, settings=settings)
        partition = admin.metadata().topics["unclean"].partitions[0]
        leader = self.cluster.node(partition.leader)
        (follower,) = (self.cluster.node(number) for number in partition.replicas if number != leader.id)
        send(self.settings, "unclean", "both have it", acks="all")
        follower.kill()
        admin.wait_until(
            "the leader is alone", lambda: admin.metadata().topics["unclean"].partitions[0].isrs == [leader.id]
        )
        self.assertEqual(send(self.settings, "unclean", "the leader alone has it", acks="all"), 1)
        leader.kill()
        follower.start()
        admin.wait_until("the other one leads", lambda: admin.leader("unclean") == follower.id)
        self.assertEqual(send(self.settings, "unclean", "another", acks="all"), 1, "an offset that was given before")
        leader.start()

    def test_clients_know_the_proxies_only(self):
        ports = {broker.port for broker in self._brokers()}
        self.assertEqual(ports, {node.proxy.port for node in self.cluster.nodes})
        self.cluster.admin.create_topic("proxied")
        for node in self.cluster.nodes:
            node.proxy.refuse()
        self.addCleanup(self._heal)
        self.assertEqual(error_of(send, self.settings, "proxied", "one", bound=2), "_MSG_TIMED_OUT")
        self.assertEqual(self.cluster.admin.brokers(), [1, 2, 3], "the administrator goes by another way")
        self._heal()
        send(self.settings, "proxied", "two")

    def _heal(self):
        for node in self.cluster.nodes:
            node.proxy.heal()

    def _brokers(self):
        from confluent_kafka.admin import AdminClient

        return AdminClient(self.settings).list_topics(timeout=10).brokers.values()


if __name__ == "__main__":
    unittest.main()
