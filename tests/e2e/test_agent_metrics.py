#!/usr/bin/env python3
"""What agents tell of themselves (METRIC), as metrics."""
import unittest

from harness import E2E
from puppet import puppet, settings

MOST_NAMES = 32


class OwnMetrics(E2E):
    def test_what_an_agent_tells_of_itself_becomes_metrics(self):
        daemon = self.daemon(settings())
        tell = "say(dict(type='METRIC', name='score', value={}, kind='gauge'))\nsay(dict(type='METRIC', name='steps', value={}, kind='counter'))\ndone()"
        daemon.run("puppet", tell.format(1.5, 2))
        daemon.run("puppet", tell.format(-3, 5))
        scraped = daemon.get("/metrics").body.decode()
        self.assertRegex(scraped, r'(?m)^kurultai_agent_metric\{agent="puppet",name="score"\} -3$')
        self.assertRegex(scraped, r'(?m)^kurultai_agent_metric_total\{agent="puppet",name="steps"\} 7$')
        self.assertEqual(daemon.metric("kurultai_agent_metrics_refused_total", agent="puppet"), 0)

    def test_names_are_bounded_and_harmless(self):
        daemon = self.daemon(settings())
        daemon.run("puppet", "for i in range(100): say(dict(type='METRIC', name=f'm{i}', value=i))\n"
                             "say(dict(type='METRIC', name='a b\"c', value=1))\ndone()")
        scraped = daemon.get("/metrics").body.decode()
        self.assertEqual(scraped.count('kurultai_agent_metric{agent="puppet",name="m'), MOST_NAMES)
        self.assertEqual(daemon.metric("kurultai_agent_metrics_refused_total", agent="puppet"), 100 - MOST_NAMES + 1)
        self.assertNotIn("a b", scraped)

    def test_an_agent_that_a_reload_takes_away_takes_its_metrics_with_it(self):
        daemon = self.daemon(settings({"puppet": puppet(), "other": puppet()}))
        daemon.run("other", "say(dict(type='METRIC', name='score', value=1))\ndone()")
        self.assertIn('kurultai_agent_metric{agent="other"', daemon.get("/metrics").body.decode())
        daemon.write_config(settings({"puppet": puppet()}))
        self.assertEqual(daemon.request("POST", "/v1/reload").status, 200)
        self.assertNotRegex(daemon.get("/metrics").body.decode(), r'kurultai_agent_metrics?\w*\{agent="other"')


if __name__ == "__main__":
    unittest.main()
