"""`vigie-kafka`: its one line of where it is, its commands, and its end."""

import json
import pathlib
import signal
import subprocess
import unittest

from support import folder_of, kafka, send

from vigie_harness.checkout import ROOT
from vigie_harness.processes import wait_until


class CommandTest(unittest.TestCase):
    def start(self, *options):
        kafka()
        self.folder = folder_of(self)
        self.child = subprocess.Popen(
            [ROOT / "tools/kafka", "run", "--folder", self.folder, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        self.addCleanup(self.end)
        return json.loads(self.child.stdout.readline() or self.fail(self.child.stderr.read()))

    def end(self):
        if not self.child.stdin.closed:
            self.child.stdin.close()
        self.child.wait(60)
        self.child.stdout.close()
        self.child.stderr.close()

    def ask(self, **command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def done(self, **command):
        answer = self.ask(**command)
        self.assertTrue(answer.get("ok"), answer)
        return answer

    def test_what_is_no_command_is_answered_too(self):
        self.start()
        for line, words in (("", "a JSON object"), ("hello", "a JSON object"), ('{"stop": "x"}', "no node 'x'")):
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
            self.assertIn(words, json.loads(self.child.stdout.readline())["error"], line)

    def test_what_cannot_be_done_is_told_in_words(self):
        self.start("--via-proxy")
        self.done(topic="readings")
        for words, command in (
            ("there is no topic 'zz'", {"leader": "zz"}),
            ("there is no topic 'zz'", {"describe": "zz"}),
            ("there is no topic 'zz'", {"offsets": "zz"}),
            ("topic readings has no partition 7", {"leader": "readings", "partition": 7}),
            ("no operation 'fly': it is one of", {"grant": "bob", "operation": "fly"}),
            ("'user' needs 'password_file' too", {"user": "bob"}),
            ("'stop' has no member 'now'", {"stop": 1, "now": True}),
            ("the password file /nowhere: No such file", {"user": "bob", "password_file": "/nowhere"}),
            ("'set_group_offsets': a member has a value", {"set_group_offsets": "g", "offsets": 5}),
            ("a quota is of a user or of a client_id", {"quota": {"producer_byte_rate": 1000}}),
            ("a quota limits producer_byte_rate", {"quota": {"speed": 1}, "user": "bob"}),
            ("no direction 'up'", {"proxy": 1, "fault": "delay", "seconds": 1, "direction": "up"}),
            ("delay needs seconds", {"proxy": 1, "fault": "delay"}),
            ("there are no certificates without --tls", {"certificate": "c"}),
        ):
            self.assertIn(words, self.ask(**command).get("error", "it was done"), command)
        second = subprocess.run(
            [ROOT / "tools/kafka", "run", "--folder", self.folder], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False)  # fmt: skip
        self.assertEqual((second.returncode, second.stdout), (1, ""))
        self.assertEqual(
            second.stderr, f"vigie: another tools/kafka runs in {self.folder}: end it, or name another --folder.\n"
        )
        self.done(kill=1)
        self.assertEqual(self.ask(pause=1)["error"], "node 1 does not run: start it first")
        self.assertIn("has no copy 'copy' of its log folder: make one first", self.ask(restore=1)["error"])

    def test_a_node_obeys(self):
        facts = self.start("--via-proxy", "--property", "num.partitions=3")
        settings = {"bootstrap.servers": facts["bootstrap"]}
        self.assertEqual(facts["protocol"], "PLAINTEXT")
        self.assertRegex(facts["version"], r"^\d+\.\d+\.\d+$")
        self.done(topic="readings", partitions=2, settings={"retention.ms": 60_000})
        send(settings, "readings", "one", partitioner="consistent")
        self.assertEqual(self.done(leader="readings")["leader"], 1)
        offsets = self.done(offsets="readings")["offsets"]
        self.assertEqual(sum(end for _, end in offsets.values()), 1)
        self.done(stop=1)
        self.assertFalse(self.done(state=True)["nodes"][0]["running"])
        self.done(copy=1)
        self.done(start=1)
        self.done(kill=1)
        self.done(restore=1)
        self.done(start=1)
        self.done(pause=1)
        self.done(resume=1)
        self.done(proxy=1, fault="delay", seconds=0.01, direction="to_client")
        self.done(proxy="all", fault="heal")
        self.done(quota={"producer_byte_rate": 1_000_000}, client_id="somebody")
        send(settings, "readings", "two")
        self.assertEqual(self.ask(copy=1)["error"].split(":")[0], "node 1 runs")
        self.assertIn("no command 'jump'", self.ask(jump=1)["error"])
        self.assertIn("no node 7", self.ask(kill=7)["error"])
        self.child.stdin.write("no JSON\n")
        self.child.stdin.flush()
        self.assertIn("error", json.loads(self.child.stdout.readline()))
        self.child.stdin.close()
        self.assertEqual(self.child.wait(60), 0)

    def test_users_and_certificates(self):
        password = folder_of(self) / "password"
        password.write_text("hers\n")
        facts = self.start(
            "--tls", "--client-certificates", "--sasl", "scram", "--user", f"alice:{password}", "--super-user", "alice"
        )
        self.assertEqual((facts["protocol"], facts["mechanism"]), ("SASL_SSL", "SCRAM-SHA-512"))
        settings = {
            "bootstrap.servers": facts["bootstrap"],
            "security.protocol": facts["protocol"],
            "sasl.mechanism": facts["mechanism"],
            "sasl.username": "alice",
            "sasl.password": "hers",
            "ssl.ca.location": facts["authority"],
            "ssl.certificate.location": facts["certificate"],
            "ssl.key.location": facts["key"],
        }
        send(settings, "readings", "one")
        self.done(user="bob", password_file=str(password))
        self.done(grant="bob", operation="write", topic="readings")
        send(settings | {"sasl.username": "bob"}, "readings", "two")
        named = self.done(certificate="c.pem")
        self.assertTrue(named["certificate"].endswith("/c.pem") and named["key"].endswith("/c.key"), named)
        made = self.done(certificate="old", name="client", begins=-7200, ends=-3600)
        dates = subprocess.run(
            ["openssl", "x509", "-noout", "-checkend", "0", "-in", made["certificate"]],
            capture_output=True,
            check=False,
        )
        self.assertEqual(dates.returncode, 1, "it has expired")

    def test_sigterm_ends_the_nodes_too(self):
        facts = self.start()
        self.child.send_signal(signal.SIGTERM)
        self.assertEqual(self.child.wait(60), 0)
        node = facts["nodes"][0]["pid"]
        wait_until("the node is gone", lambda: not pathlib.Path(f"/proc/{node}").exists(), 30)


if __name__ == "__main__":
    unittest.main()
