"""The processor's page in a real browser, in front of a real broker, a real PostgreSQL and a fleet that produces.

VIGIE_SCREENSHOTS names a folder that gets a picture of every state.
"""

import json
import os
import pathlib
import re
import shutil
import time
import unittest
import urllib.error
import urllib.request
import uuid

from browser import DESKTOP, PHONE, open_browser, wait_until
from confluent_kafka.admin import AdminClient, NewTopic
from selenium.webdriver.common.by import By

from vigie_harness.checkout import programs
from vigie_harness.ports import free_port
from vigie_harness.postgres import Postgres
from vigie_harness.processes import Process
from vigie_harness.scratch import scratch_folder

PARTITIONS = 4


@unittest.skipUnless(shutil.which("chromium") and shutil.which("chromedriver"), "chromium or its driver is missing")
@unittest.skipUnless(os.environ.get("VIGIE_KAFKA"), "VIGIE_KAFKA names no broker: run `make test`")
class PageTest(unittest.TestCase):
    """One processor through its life: nothing yet, at work, without its database, stopped."""

    @classmethod
    def setUpClass(cls):
        cls.programs = programs()
        cls.folder = scratch_folder()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        # Its own, as it is taken away in the middle.
        cls.postgres = Postgres(cls.folder / "postgres", durable=False)
        cls.addClassCleanup(cls.postgres.stop)
        cls.postgres.start()
        cls.topic = f"page-{uuid.uuid4().hex[:8]}.readings"
        admin = AdminClient({"bootstrap.servers": os.environ["VIGIE_KAFKA"]})
        topics = [NewTopic(cls.topic, PARTITIONS, 1), NewTopic(f"{cls.topic}.rejected", 1, 1)]
        for made in admin.create_topics(topics).values():
            made.result(20)
        cls.port = free_port()
        cls.url = f"http://127.0.0.1:{cls.port}/"
        (cls.folder / "processor.yaml").write_text(
            f"""
kafka:
  bootstrap: "{os.environ["VIGIE_KAFKA"]}"
  topic: {cls.topic}
  rejected_topic: {cls.topic}.rejected
  group: {cls.topic}
  instance: centre-1
postgres:
  connection: "{cls.postgres.connection}"
monitoring:
  listen: "127.0.0.1:{cls.port}"
"""
        )
        cls.processor = Process(
            "vigie-processor",
            [cls.programs / "vigie-processor", "run", "--config", cls.folder / "processor.yaml"],
            cls.folder / "processor.log",
        )
        cls.addClassCleanup(cls.processor.stop)
        cls.processor.wait_until(cls.answers)
        cls.browsers = {
            "desktop": open_browser(DESKTOP),
            "phone": open_browser(PHONE),
            "dark": open_browser(DESKTOP, is_dark=True),
        }
        for driver in cls.browsers.values():
            cls.addClassCleanup(driver.quit)

    @classmethod
    def answers(cls):
        try:
            return bool(cls.status())
        except (urllib.error.URLError, ConnectionError):
            return False

    @classmethod
    def status(cls):
        with urllib.request.urlopen(f"{cls.url}status.json", timeout=10) as answer:
            return json.load(answer)

    def text(self, driver, name):
        return driver.find_element(By.ID, name).text

    def number(self, driver, name):
        """The first number of an element; -1 if there is none."""
        found = re.search(r"[\d,]*\.?\d+", self.text(driver, name))
        return float(found[0].replace(",", "")) if found else -1

    def total(self, driver):
        """The messages of all time, as the page says."""
        found = re.search(r"([\d,]+) messages in all", self.text(driver, "rows"))
        return int(found[1].replace(",", "")) if found else -1

    def errors(self, driver):
        return [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, state):
        """Keeps pictures of all browsers, the phone's of the whole page."""
        folder = os.environ.get("VIGIE_SCREENSHOTS")
        if not folder:
            return
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        for name, driver in self.browsers.items():
            size = driver.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
            metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": name == "phone"}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            time.sleep(0.2)
            driver.save_screenshot(f"{folder}/{state}-{name}.png")
            height = (PHONE if name == "phone" else DESKTOP)[1]
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | {"height": height})

    def test_the_page_tells_the_truth_all_life_long(self):
        for driver in self.browsers.values():
            driver.get(self.url)
        self.nothing_yet()
        with self.subTest("at work"):
            self.at_work()
        with self.subTest("without its database"):
            self.without_database()
        with self.subTest("stopped"):
            self.stopped()

    def nothing_yet(self):
        for driver in self.browsers.values():
            wait_until(
                "all partitions are shown",
                lambda: len(driver.find_elements(By.CSS_SELECTOR, "#partitions tbody tr")) == PARTITIONS,
            )
            self.assertIn("Nothing has come yet.", self.text(driver, "banner"))
            self.assertEqual(self.errors(driver), [])
        self.picture("nothing")

    def at_work(self):
        fleet = Process(
            "vigie-fleet",
            [
                self.programs / "vigie-fleet", "produce", f"--bootstrap={os.environ['VIGIE_KAFKA']}",
                f"--topic={self.topic}", "--rate=300", "--count=1000000", "--gateways=30", "--sensors-per-gateway=2",
                "--duplicates=0.02", "--malformed=0.01", "--faults=0.01", "--seed=7",
                f"--manifest={self.folder / 'manifest.json'}",
            ],
            self.folder / "fleet.log",
        )  # fmt: skip
        self.addCleanup(fleet.stop)
        for name, driver in self.browsers.items():
            wait_until("messages are shown", lambda: self.total(driver) > 0)
            before = self.total(driver)
            wait_until("the number of messages changes", lambda: self.total(driver) > before)
            wait_until("throughput is shown", lambda: self.number(driver, "throughput") > 0)
            wait_until("latency is shown", lambda: self.number(driver, "latency") > 0)
            wait_until(
                "all is well",
                lambda: (
                    self.text(driver, "health") == "healthy" and not driver.find_element(By.ID, "banner").is_displayed()
                ),
            )
            self.no_horizontal_scroll(driver, name)
        # Not before every browser has seen what it is to see, however long that took.
        self.assertTrue(fleet.stop(60))
        manifest = json.loads((self.folder / "manifest.json").read_text())
        # The fleet ends with a report of each gateway: a message, and no row.
        type(self).sent = manifest["messages"] + len(manifest["streams"])
        wait_until("everything is processed", lambda: self.status()["counts"]["messages"] == self.sent)
        rows = int(self.postgres.psql("SELECT count(*) FROM sensor_data"))
        for name, driver in self.browsers.items():
            wait_until("all messages are shown", lambda: self.total(driver) == self.sent)
            # In one go, as the page draws itself anew each second.
            facts = driver.execute_script(
                "return Object.fromEntries([...document.querySelectorAll('#counts dt')]"
                ".map((name) => [name.innerText, name.nextElementSibling.innerText]))"
            )
            self.assertEqual(int(facts["Rows written"].replace(",", "")), rows, name)
            self.assertEqual(
                int(facts["Duplicates dropped"].replace(",", ""))
                + int(facts["Rejected"].lstrip("▲ ").replace(",", ""))
                + rows,
                manifest["messages"],
            )
            wait_until("nothing is behind", lambda: self.number(driver, "lag") == 0)
            self.assertGreater(len(driver.find_elements(By.CSS_SELECTOR, "#distribution .bar")), 0)
            self.assertGreater(len(driver.find_elements(By.CSS_SELECTOR, "#batches .bar")), 0)
            self.assertEqual(len(driver.find_elements(By.CSS_SELECTOR, "#stages li")), 4)
            self.assertNotIn("not known", self.text(driver, "stages"), "the fleet says when it committed")
            self.assertIn("centre-1", self.text(driver, "members"))
            self.assertEqual(self.errors(driver), [], name)
            self.no_horizontal_scroll(driver, name)
        self.picture("work")

    def no_horizontal_scroll(self, driver, name):
        widths = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(widths[0], widths[1], name)

    def without_database(self):
        self.postgres.stop()
        for driver in self.browsers.values():
            wait_until(
                "the page says that the database is away",
                lambda: "PostgreSQL cannot be used" in self.text(driver, "banner"),
            )
        self.assertEqual(self.request_status("status"), 503)
        self.picture("database-away")
        self.postgres.start()
        for driver in self.browsers.values():
            wait_until(
                "the page says that all is well again",
                lambda: not driver.find_element(By.ID, "banner").is_displayed(),
            )
        # A part that did nothing meanwhile notices only now that its session is gone.
        wait_until("the status is good again", lambda: self.request_status("status") == 200)

    def request_status(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def stopped(self):
        for driver in self.browsers.values():
            self.assertEqual(self.errors(driver), [])
        self.assertTrue(self.processor.stop())
        for name, driver in self.browsers.items():
            wait_until(
                "the page is stale", lambda: "stale" in driver.find_element(By.TAG_NAME, "body").get_attribute("class")
            )
            self.assertIn("does not answer", self.text(driver, "banner"))
            self.assertEqual(self.text(driver, "health"), "no answer")
            self.assertEqual(self.total(driver), self.sent, "what was known stays to be read")
            self.no_horizontal_scroll(driver, name)
        self.picture("stopped")
        # An orderly stop leaves no ghost behind.
        self.assertEqual(self.postgres.psql("SELECT count(*) FROM processor"), "0")


if __name__ == "__main__":
    unittest.main()
