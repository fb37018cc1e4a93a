#!/usr/bin/env python3
"""Runs the command line client against the local server of the API, with pipes and, where there is tmux, on a terminal.

nango_cli.py NANGO_CLI SERVE_LOCAL_NANGO
"""

import csv
import io
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CLI, SERVE = sys.argv[1:]
OTHER_TOKEN = "d2c0f4f5-0d39-4b5e-9d0a-4f7b1c6f1e27"  # local_nango::other_user_token()
failures = 0


def check(holds, what, shown=""):
    global failures
    if not holds:
        failures += 1
        print(f"FAIL: {what}\n{shown}")


class Runner:
    def __init__(self, base_url, ca_file, key, token):
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("NANGO_")}
        self.environment |= {"NANGO_API_KEY": key, "NANGO_USER_TOKEN": token, "NANGO_BASE_URL": base_url}
        self.ca_file = ca_file

    def command(self, *arguments):
        return [CLI, "--ca-file", self.ca_file, *arguments]

    def run(self, *arguments, code=0, without=(), more={}):
        environment = {k: v for k, v in (self.environment | more).items() if k not in without}
        done = subprocess.run(self.command(*arguments), env=environment, capture_output=True, timeout=30)
        out, err = done.stdout.decode(), done.stderr.decode()
        shown = f"$ nango_cli {' '.join(arguments)}\n{out}{err}"
        check(done.returncode == code, f"exit code {done.returncode}, not {code}", shown)
        check((err == "") == (code == 0 and "-v" not in arguments), "an error is told, and nothing else is", shown)
        check(self.environment["NANGO_API_KEY"] not in out + err, "the key is not shown", shown)
        return out, err


def output(runner):
    names = [record["first_name"] for record in json.loads(runner.run("contacts", "--name", "Rolf")[0])]
    check(names == ["Rolf", "Mina"], "contacts by name, as JSON into a pipe", names)
    one = json.loads(runner.run("accounts", "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01", "--json", "--include-raw")[0])
    check(one["raw_external_data"]["Tier__c"] == "gold" and one["annual_revenue"] == 1e7, "an account with its raw data", one)
    raw = json.loads(runner.run("get", "crm/contacts", "-q", "name=Rolf", "-q", "include_raw=true")[0])
    check(len(raw) == 2 and "raw_external_data" in raw[0], "get with two parameters", raw)
    mails = json.loads(runner.run("contacts", "--email", "rolf@example.com", "--email", "ase@example.org")[0])
    check(len(mails) == 2, "two addresses", mails)
    check(json.loads(runner.run("contacts", "--account", "5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa02")[0])[0]["first_name"] == "Mina",
          "contacts of an account")
    check(len(json.loads(runner.run("opportunities", "--name", "pier")[0])) == 2, "opportunities by name")

    text = runner.run("contacts", "--csv")[0]
    table = list(csv.reader(io.StringIO(text, newline="")))
    check(text.count("\r\n") == 6 and table[0][0] == "first_name" and table[3][1:3] == ["O'Bär & Søn", 'CTO "ad interim"'], "CSV", text)
    table = runner.run("opportunities", "--table")[0].splitlines()
    check(table[0].split() == ["name", "stage", "amount", "probability", "close_date", "is_won", "id"], "names", table)
    check(table[2].split() == ["Pier", "repair", "Won", "12500.5", "1", "2022-02-28", "yes", "c9a1b6de-7c07-4a3f-b1d4-5e2d8f60cc02"],
          "a row", table)
    check(table[1].index("Negotiation") == table[2].index("Won") == table[0].index("stage"), "columns", table)

    for arguments in (["--table"], ["--json"]):
        shown = runner.run("contacts", "--user", OTHER_TOKEN, *arguments)[0]
        check("\\u001b[2JDirector\\u009b31m\\u202e" in shown and "\x1b" not in shown and "\x9b" not in shown and "\u202e" not in shown,
              "what would command a terminal is shown as text", repr(shown))
    check("\x1b[2JDirector" in runner.run("contacts", "--user", OTHER_TOKEN, "--csv")[0], "CSV has it as it came")

    head = subprocess.run(f"{shlex.join(runner.command('contacts', '--csv'))} | head -n 1", shell=True, env=runner.environment,
                          capture_output=True, text=True, timeout=30)
    check(head.stdout.startswith("first_name,") and head.stderr == "", "head", head)
    with open("/dev/full", "w") as full:
        done = subprocess.run(runner.command("contacts"), env=runner.environment, stdout=full, stderr=subprocess.PIPE, timeout=30)
    check(done.returncode == 1 and b"could not be written" in done.stderr, "a full disk", done)


def hosted(runner):
    """Today's service: the same server, another dialect."""
    def run(*arguments, code=0, **more):
        environment = {"NANGO_BASE_URL": runner.environment["NANGO_BASE_URL"].removesuffix("v1/"),
                       "NANGO_CONNECTION_ID": "c-open", "NANGO_PROVIDER_CONFIG_KEY": "open"}
        return runner.run("--hosted", *arguments, code=code, without=["NANGO_USER_TOKEN"], more=environment | more)

    check(json.loads(run("connections")[0])[0]["connection_id"] == "c-open", "connections")
    records = json.loads(run("records", "Ticket")[0])
    check(len(records) == 25 and records[24]["title"] == "Ticket 25", "records", records)
    after = records[20]["_nango_metadata"]["cursor"]
    check(len(json.loads(run("records", "Ticket", "--cursor", after)[0])) == 4, "records after a cursor")
    said = json.loads(run("proxy", "GET", "user/repos/", "-q", "per_page=50")[0])
    check(said["url"] == "/user/repos/?per_page=50" and said["method"] == "GET", "a path of the connected API", said)
    said = json.loads(run("proxy", "POST", "x", "--data", '{"a":1}')[0])
    check(said["body"] == '{"a":1}' and said["headers"]["Content-Type"] == "application/json", "with a body", said)
    check(json.loads(run("action", "echo", "--data", '{"a":1}')[0]) == {"a": 1}, "an action")
    check(json.loads(run("get", "connections/c-open", "-q", "provider_config_key=open")[0])["id"] == 1, "any path")
    for code, words, arguments, more in (
            (5, "script_http_error", ["action", "http-error"], {}),
            (5, "does not say why", ["proxy", "GET", "status/404"], {}),
            (3, "Failed to find connection", ["records", "Ticket", "--connection", "nobody"], {}),
            (2, "is none of --hosted", ["contacts"], {}),
            (2, "prints JSON only", ["records", "Ticket", "--csv"], {}),
            (2, "must be JSON", ["action", "echo", "--data", "{"], {}),
            (2, "give --connection and --provider", ["records", "Ticket"], {"NANGO_PROVIDER_CONFIG_KEY": ""})):
        _, err = run(*arguments, code=code, **more)
        check(words in err, f"the error says: {words}", err)
    _, err = runner.run("records", "Ticket", code=2)
    check("is one of --hosted" in err, "without --hosted", err)


def mistakes(runner, folder):
    def told(words, *arguments, code=2, **more):
        _, err = runner.run(*arguments, code=code, **more)
        check(words in err, f"the error says: {words}", err)

    told("subcommand is required")
    told("there is no option --colour\n", "contacts", "--colour", "blue")
    told("there is no command contact; did you mean contacts?", "contact")
    told("there is no command acounts; did you mean accounts?", "acounts", "--name", "Rolf")
    told("there is no command frobnicate\n", "frobnicate")
    told("there is no command \\u001b", "\x1b[2J")
    told("there is no option --nam; did you mean --name?", "contacts", "--nam", "Rolf")
    told("there is no option --nam; did you mean --name?", "contacts", "--nam=Rolf")
    told("there is no option --timeuot; did you mean --timeout?", "--timeuot", "3s", "contacts")
    told("nango_cli: the API key is missing: set", "contacts", without=["NANGO_API_KEY"])
    told("nango_cli: the user token is missing: give", "contacts", without=["NANGO_USER_TOKEN"])
    told("path is required", "get")
    told("must be NAME=VALUE: name", "get", "crm/contacts", "-q", "name")
    told("must be NAME=VALUE: =x", "get", "crm/contacts", "-q", "=x")
    told("JSON only", "get", "crm/contacts", "--csv")
    told("excludes", "contacts", "--csv", "--json")
    told("needs no --name", "contacts", "some-id", "--name", "Rolf")
    told("set NANGO_API_KEY", "contacts", without=["NANGO_API_KEY"])
    told("set NANGO_USER_TOKEN", "contacts", without=["NANGO_USER_TOKEN"])
    told("each other's arguments", "contacts", "--key", "some-key")
    for bad in ("", "5", "s", "-1s", "0s", "1.5s", "1d", "10 s", "9999999999999999999s", "1000000h"):
        told("must be a number and ms, s, m or h", "contacts", "--timeout", bad)
    told("must begin with https://", "contacts", "--base-url", "http://api.example.com")
    told("empty segment", "get", "crm//contacts")
    told("has a comma", "contacts", "--email", "a@example.com,b@example.com")

    def file(name, content):
        path = pathlib.Path(folder, name)
        path.write_text(content)
        return str(path)

    key = runner.environment["NANGO_API_KEY"]
    runner.run("contacts", "--key-file", file("key", key + "\r\n"), without=["NANGO_API_KEY"])
    told("cannot be read", "contacts", "--key-file", folder + "/missing")
    told("cannot be read", "contacts", "--key-file", folder)
    told("has no key in it", "contacts", "--key-file", file("empty", "\n"))
    told("control characters", "contacts", "--key-file", file("two", "a\nb\n"))

    told("not a UUID", "contacts", "some-id", code=3)
    told("(AUTH_ERROR)", "contacts", "--user", "nobody", code=4)
    told("(AUTH_ERROR)", "contacts", "--key-file", file("wrong", "some-other-key"), code=4)
    told("(PROCESSING_ERROR)", "get", "test/processing-error", code=5)
    told("(connection_failed)", "contacts", "--base-url", "https://127.0.0.1:1/", code=7)
    trusting, runner.ca_file = runner.ca_file, ""  # the system's authorities
    told("(tls_failed)", "contacts", code=7)
    runner.ca_file = trusting
    told("(timed_out)", "get", "test/sleep", "-q", "ms=20000", "--timeout", "300ms", code=8)
    for name in ("--help", "--version"):
        check(runner.run(name)[0] != "", name)
    shown = runner.run("--help")[0]
    check(all(words in shown for words in ("Examples:", "Exit codes:", "NANGO_API_KEY", "NANGO_USER_TOKEN")), "help", shown)


def verbose(runner):
    out, err = runner.run("get", "crm/contacts", "-v")
    check(out == runner.run("get", "crm/contacts")[0], "-v leaves the output alone")
    for words in ("* GET crm/contacts, attempt 1: ok, HTTP 200, took ", " ms, waited ", "< Content-Type: application/json"):
        check(words in err, f"-v shows: {words}", err)
    _, err = runner.run("get", "test/processing-error", "-v", code=5)
    for words in ("attempt 1: PROCESSING_ERROR, HTTP 500", "* tries again in ", "attempt 3: PROCESSING_ERROR"):
        check(words in err, f"-v shows: {words}", err)
    for secret in ("NANGO_API_KEY", "NANGO_USER_TOKEN"):
        check(runner.environment[secret] not in err, f"-v does not show {secret}", err)


def interrupted(runner):
    process = subprocess.Popen(runner.command("get", "test/sleep", "-q", "ms=20000"), env=runner.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)  # it is under way; were it not, it would be killed, with another code
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    check(process.returncode == 130 and "(canceled)" in err, "Ctrl-C cancels", err)
    check(time.monotonic() - began < 5, "and soon")


def on_a_terminal(runner, folder):
    if not shutil.which("tmux"):
        print("skipped: the view on a terminal needs tmux")
        return

    def screen(wanted, width, *arguments):
        tmux = ["tmux", "-S", tempfile.mkdtemp(dir=folder) + "/socket", "-f", "/dev/null"]
        command = f"{shlex.join(runner.command(*arguments))}; echo ended; sleep 60"
        subprocess.run([*tmux, "-u", "new-session", "-d", "-x", str(width), "-y", "24", command], env=runner.environment, check=True)
        shown = ""
        limit = time.monotonic() + 20
        while wanted not in shown and time.monotonic() < limit:
            time.sleep(0.05)
            shown = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
        subprocess.run([*tmux, "kill-server"], check=True)
        check(wanted in shown, f"the terminal shows {wanted}", shown)
        return shown.rstrip("\n").splitlines()

    lines = screen("ended", 200, "contacts")
    check(lines[0].split()[:2] == ["first_name", "last_name"] and "O'Bär & Søn" in lines[3], "a table by itself", lines)
    narrow = screen("ended", 60, "contacts")
    check(len(narrow) == 7 and all(len(line) <= 60 for line in narrow) and "…" in narrow[1], "a narrow one", narrow)
    screen("waiting for the API: 1 s", 80, "get", "test/sleep", "-q", "ms=4000")
    after = screen("ended", 80, "get", "test/sleep", "-q", "ms=1500")
    check(after[0].strip() == "null", "the progress is wiped", after)


with subprocess.Popen([SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
    runner = Runner(*(server.stdout.readline().strip() for _ in range(4)))
    with tempfile.TemporaryDirectory() as folder:
        output(runner)
        hosted(runner)
        mistakes(runner, folder)
        verbose(runner)
        interrupted(runner)
        on_a_terminal(runner, folder)
    server.stdin.close()
sys.exit(1 if failures else 0)
