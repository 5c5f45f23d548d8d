"""Real servers for the tests: PostgreSQL, RabbitMQ and an S3 server.

Each is looked for in this order: one named by an environment variable, one that Docker can run, one that is installed
on this machine (``python -m tests.servers.prepare`` installs what can be had). Everything started here listens on
loopback only, keeps its data in a scratch folder and ends with the test run, however that ends.

==================  ==========================================================================================
Server              Environment
==================  ==========================================================================================
PostgreSQL          ``WINNOW_TEST_DATABASE_URL``, of a user who may create databases
RabbitMQ            ``WINNOW_TEST_AMQP_URL``
S3                  ``WINNOW_TEST_S3_URL``, ``WINNOW_TEST_S3_ACCESS_KEY``, ``WINNOW_TEST_S3_SECRET_KEY`` and, if it is
                    not ``us-east-1``, ``WINNOW_TEST_S3_REGION``
==================  ==========================================================================================
"""

from __future__ import annotations


class Unavailable(Exception):
    """This server can't be had here. The message says what was tried and what would help."""
