"""pykestrel, written for Kestrel itself, and kestrel-cli, which stands on it. Both are Python 2 of 2011.

Unchanged they run under Python 3 if their own directories are searched for modules, as Python 2 did by itself; of pykestrel's calls, stats() and
version() do not.
"""

import io
import os
import sys
from contextlib import redirect_stdout

import memcache

INSTALLED = os.path.dirname(memcache.__file__)
sys.path += [os.path.join(INSTALLED, package) for package in ["kestrel", "kestrelcli"]]

import kestrel
from kestrelcli import cli

from cases import PORT, run_case, same


def client():
    return kestrel.Client([f"127.0.0.1:{PORT}"])


def jobs():
    q = client()
    same(True, q.add("jobs", "one"))
    same(True, q.add("jobs", "zwölf", expire=1000))
    same(True, q.add("jobs", "three"))
    same("one", q.peek("jobs"))
    same("one", q.next("jobs"))
    same("zwölf", q.next("jobs", timeout=1000))
    same(True, q.abort("jobs"))
    same("zwölf", q.next("jobs"))
    same(True, q.finish("jobs"))
    same("three", q.get("jobs"))
    same(None, q.get("jobs", timeout=1))


def what_it_held_returns():
    q = client()
    same(True, q.add("jobs", "one"))
    same("one", q.next("jobs"))
    same(None, client().get("jobs"))
    same(True, q.close())
    same("one", client().get("jobs", timeout=2000))


def whole_queues():
    q = client()
    for end in [lambda: q.flush("jobs"), lambda: q.flush_all(), lambda: q.delete("jobs")]:
        same(True, q.add("jobs", "one"))
        same(True, end())
        same(None, q.get("jobs"))


def its_command_line():
    def run(*arguments):
        said = io.StringIO()
        # It takes standard output for its default when it begins.
        with redirect_stdout(said):
            cli.main(["kestrel-cli", *arguments, "-h", "127.0.0.1", "-p", str(PORT)])
        return said.getvalue()

    same("", run("set", "jobs", "-d", "an item"))
    same("an item", run("peek", "jobs"))
    same("an item", run("get", "jobs"))
    same("", run("get", "jobs"))
    same("deleted: jobs\n", run("delete", "jobs"))


run_case(globals())
