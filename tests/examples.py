#!/usr/bin/env python3
"""Runs an example, and checks what it prints.

examples.py NAME PROGRAM [SERVE_LOCAL_NANGO]
"""

import hashlib
import hmac
import json
import os
import pathlib
import re
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SECRETS = ["local-test-api-key", "6b693b41-bf22-42e6-aa31-b75cd41749ab"]  # of local_nango.hpp


def run(*command, code=0):
    """What it printed on its two streams."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expect(done.returncode == code, f"exit code {done.returncode}, not {code}", done.stdout + done.stderr)
    return done.stdout, done.stderr


def expect(holds, what, output=""):
    if not holds:
        sys.exit(f"{what}\n{output}")


def expect_lines(text, *patterns):
    """Each pattern is found in a line, after the line of the one before it."""
    lines = iter(text.splitlines())
    for pattern in patterns:
        expect(any(re.search(pattern, line) for line in lines), f"not printed, or not there: {pattern}", text)


def error_handling(program):
    out, _ = run(program)
    retried = r"-> try later \(it may have been executed\)$"
    expect_lines(out,
                 r"PARAMS_ERROR \(HTTP 400\): .*colour \[GET crm/contacts\] -> mend the call$",
                 "invalid_argument: .*empty segment.* -> mend the call$",
                 r"AUTH_ERROR \(HTTP 401\): .* -> have the user connect again$",
                 "^a request .*: PROCESSING_ERROR .*" + retried, "^a POST .*: PROCESSING_ERROR .*" + retried,
                 "decode_error .* -> mend the call", ": canceled: .* -> nothing$",
                 r"PLAN_ERROR \(HTTP 402\): too small \[GET any\] -> look into it", r"unexpected_status \(HTTP 502\).* -> look into it",
                 r"malformed_response \(HTTP 200\).* -> look into it",
                 r"timed_out: .*while waiting for the answer \(call_options::timeout, 100 ms\) \[GET test/sleep\] " + retried,
                 "response_too_large .* -> ask for less",
                 r"rate_limited: .*after the deadline \[GET crm/accounts\] -> try later$",
                 "connection_failed: cannot connect .* -> try later$", "invalid_argument: .*must begin with https://.* -> mend the call$",
                 "tls_failed: .*not trusted.* -> check the set-up$", r"rate_limited \(HTTP 429\): .* -> try later$", "^14 codes$",
                 "^The account of the first contact: Birch and Harbour, and as nobody: unknown$",
                 "^The first contact: Rolf Lindgren, and as nobody: it failed: AUTH_ERROR", "^nango: the deadline passed$")


def many_users(program):
    out, progress = run(program, "300", "2")
    expect_lines(out, "^600 calls for 300 users in .* a second$", "^600 requests, 600 records, ")
    expect(progress == "", "progress is for terminals only", progress)
    for bad in (["0"], ["x"], ["1", "2", "3"], ["-1"], ["1000001"]):
        _, usage = run(program, *bad, code=2)
        expect_lines(usage, "^usage: many_users")
    # One user's 100 requests a second would take long. After the first 100 all threads wait for turns: then it ends.
    terminal, its_end = os.openpty()
    with subprocess.Popen([program, "1", "100000"], stdout=subprocess.PIPE, stderr=its_end, text=True) as process:
        os.close(its_end)
        progress = ""
        while not re.search(r"[1-9]\d\d+ of 100000 calls, \d+ a second", progress):
            if not select.select([terminal], [], [], 20)[0]:
                process.kill()
                sys.exit(f"no progress on a terminal\n{progress}")
            progress += os.read(terminal, 1000).decode()
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit("it goes on after Ctrl-C")
        took = time.monotonic() - asked
    os.close(terminal)
    expect(process.returncode == 130, f"exit code {process.returncode} after Ctrl-C", out)
    expect_lines(out, r"^\d+ calls for 1 users", "x canceled$", "^interrupted$")
    expect(took < 5, f"it went on for {took} s after Ctrl-C", out)  # a call may wait for its turn until its 30 s are over


def quickstart_without_key(program):
    without = {name: value for name, value in os.environ.items() if name != "NANGO_API_KEY"}
    done = subprocess.run([program, "--five-lines"], capture_output=True, text=True, timeout=60, env=without)
    expect(done.returncode == -signal.SIGABRT, f"exit code {done.returncode}", done.stderr)
    expect_lines(done.stderr, r"invalid_argument: client_options::api_key is empty; is the environment variable set\?$")


def observability(program):
    page, log = run(program)
    lines = [json.loads(line) for line in log.splitlines()]
    expect(len({line["request_id"] for line in lines}) == 48 and len({line["caller"] for line in lines}) == 2,
           "each has the server's id, and whose it was", log)
    expect(len(lines) == 48 and all(0 < line["attempt"] <= 3 for line in lines), "48 attempts are logged", log)
    expect(sum("retry_in_ms" in line for line in lines) == 8, "8 of them are tried again", log)
    outcomes = {(line["path"], line["status"], line["outcome"]) for line in lines}
    expect(("test/processing-error", 500, "PROCESSING_ERROR") in outcomes and ("crm/contacts", 200, "ok") in outcomes,
           "paths, statuses and outcomes are logged", log)
    for secret in SECRETS:
        expect(secret not in page + log, "a secret is told")

    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    app = r'app="the \"nightly\" import"'
    labelled = re.compile(r'[a-z_]+\{([a-z]+="(\\["\\n]|[^"\\\n])*"(,|(?=\})))+\} [0-9.e+-]+')
    for line in page.splitlines():
        expect(line.startswith("# ") or labelled.fullmatch(line) and app in line, "a line of the text format", line)
    counts = {key: value for key, value in values.items() if key.startswith("nango_attempts_total")}
    expected = {("crm/accounts", "AUTH_ERROR"): 4, ("crm/contacts", "ok"): 4, ("crm/contacts/:id", "ok"): 20,
                ("crm/contacts/:id", "PARAMS_ERROR"): 4, ("other", "PARAMS_ERROR"): 4, ("other", "PROCESSING_ERROR"): 12}
    expect(counts == {f'nango_attempts_total{{{app},route="{route}",method="GET",outcome="{outcome}"}}': str(count)
                      for (route, outcome), count in expected.items()}, "what is counted, and by which labels", page)
    for name in ("nango_attempt_seconds", "nango_limiter_wait_seconds"):
        buckets = [int(v) for k, v in values.items() if k.startswith(f'{name}_bucket{{{app},route="crm/contacts/:id",outcome="ok"')]
        expect(len(buckets) == 9 and buckets == sorted(buckets) and buckets[-1] == 20, f"the buckets of {name}", page)
        expect(0 <= float(values[f'{name}_sum{{{app},route="crm/contacts/:id",outcome="ok"}}']) < 24 * 10, f"the sum of {name}", page)
        expect(values[f'{name}_count{{{app},route="crm/contacts/:id",outcome="ok"}}'] == "20", f"the count of {name}", page)
    expect(float(values[f'nango_attempt_seconds_sum{{{app},route="crm/contacts/:id",outcome="ok"}}']) > 0, "times are measured", page)
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
    expect(typed == {"nango_attempts_total": "counter", "nango_attempt_seconds": "histogram",
                     "nango_limiter_wait_seconds": "histogram"}, "types", page)

    out, _ = run(program, "--verbose")
    expect_lines(out, r"^> GET https://.*/v1/crm/contacts/rolf$", r"^> Authorization: \*\*\*$", r"^> X-User-Account: \*\*\*$", "^> $",
                 "^< HTTP 400$", r"^< X-Request-Id: r-\d+$", "^< $", "^{.*PARAMS_ERROR",
                 r"^PARAMS_ERROR \(HTTP 400\): .* \[GET crm/contacts/rolf\]$")
    for secret in SECRETS:
        expect(secret not in out, "a secret is told", out)


def coroutines_or_threads(program):
    out, _ = run(program)  # which has generous limits of its own for what takes time
    expect_lines(out, "^futures: 11 records", "^coroutine: Birch and Harbour$",
                 "^deadline: of 20 calls .* [0-2] were over within 500 ms", "^cancellation: canceled (while|before)",
                 r"^loop: its longest task took \d+ ms", r"^shutdown: .* after \d+ ms$")


def curl_backend(program):
    out, _ = run(program)
    expect(out.splitlines() == ["Birch and Harbour", "Quiet Harbour", 'POST {"said":"hello"}'], "two accounts, an echo", out)


def quickstart_hosted(program, serve):
    tickets = ("^The first tickets:$", "^  t0000001$", "^  t0000002$", "^  t0000003$",
               r"^  PARAMS_ERROR \(HTTP 400\): model: Invalid input")
    out, _ = run(program, "--hosted")
    expect_lines(out, "calling a local server of the hosted API", *tickets)
    with subprocess.Popen([serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url, ca_file, key, _ = (server.stdout.readline().strip() for _ in range(4))
        os.environ.update(NANGO_API_KEY=key, NANGO_BASE_URL=url.removesuffix("v1/"), NANGO_CA_FILE=ca_file,
                          NANGO_CONNECTION_ID="c-open", NANGO_PROVIDER_CONFIG_KEY="open")
        out, _ = run(program, "--hosted")
        expect_lines(out, *tickets)
        server.stdin.close()


def hosted_calls(program):
    out, _ = run(program)
    expect_lines(out, "^connections of the team: 1$", "^what a tool server says: event: message$", "^all calls did what they should$")


def hosted_sync(program, serve):
    """Killed in the middle and run again: nothing is lost, and nothing is copied twice."""
    run(program, code=2)
    out, _ = run(program, ":memory:")
    expect_lines(out, "^2500 records copied$")
    _, err = run(program, "/nowhere/at/all.db", code=1)
    expect_lines(err, "^SQLite: unable to open")
    records = 100_000
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
            [serve, str(records)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url, ca_file, key, _ = (server.stdout.readline().strip() for _ in range(4))
        os.environ.update(NANGO_API_KEY=key, NANGO_BASE_URL=url.removesuffix("v1/"), NANGO_CA_FILE=ca_file,
                          NANGO_CONNECTION_ID="c-open", NANGO_PROVIDER_CONFIG_KEY="open")
        path = str(pathlib.Path(folder, "records.db"))
        database = sqlite3.connect(path, timeout=20)

        def count():
            try:
                return database.execute("SELECT count(*) FROM record").fetchone()[0]
            except sqlite3.OperationalError:
                return 0  # no table yet

        first = subprocess.Popen([program, path], stdout=subprocess.PIPE, text=True)
        while count() < 3_000 and first.poll() is None:
            time.sleep(0.01)
        first.kill()
        first.communicate()
        before = count()
        expect(3_000 <= before < records and before % 1_000 == 0, "it is killed between two batches", before)
        cursor = database.execute("SELECT cursor FROM progress").fetchone()[0]
        expect(cursor == f"MDA{before}==", "the cursor goes with the records", cursor)
        out, err = run(program, path)
        expect(err == "", "progress is for terminals only", err)
        expect(out == f"{records - before} records copied\n", "what was not copied is", out)
        expect(count() == records, "all are there", count())
        last = json.loads(database.execute("SELECT data FROM record ORDER BY id DESC").fetchone()[0])
        expect(last["title"] == f"Ticket {records}", "the last one", last)
        out, _ = run(program, path)
        expect(out == "0 records copied\n", "nothing is left", out)
        os.environ["NANGO_CONNECTION_ID"] = "nobody"
        _, err = run(program, path, code=1)
        expect_lines(err, "Failed to find connection")
        server.stdin.close()


def webhook_receiver(program):
    key, body = "a signing key", b'{"type":"sync\\u001b","success":true}'
    run(program, code=2)
    os.environ["NANGO_WEBHOOK_KEY"] = key
    for bad in (["x"], ["70000"], ["-1"], ["1", "2"]):
        run(program, *bad, code=2)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as receiver:
        url = receiver.stdout.readline().split()[-1]

        def post(signature, content=body):
            request = urllib.request.Request(url, content, {"X-Nango-Hmac-Sha256": signature} if signature else {})
            try:
                return urllib.request.urlopen(request, timeout=20).status
            except urllib.error.HTTPError as e:
                return e.code

        good = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        expect(post(good) == 204, "a signed one is taken")
        expect(receiver.stdout.readline() == '"sync\\u001b"\n', "and printed as JSON escapes it")
        expect(post(good.upper()) == 204, "also with a signature in upper case")
        for signature in ("", good[:-1] + ("0" if good[-1] != "0" else "1"), good[:-1], "x" * 64):
            expect(post(signature) == 401, f"not with {signature}")
        expect(post(good, body + b" ") == 401, "not with another body")
        expect(post(good, b"x" * (2 << 20)) == 413, "not a large one")
        receiver.terminate()


def testing_your_app(program):
    began = time.monotonic()
    out, _ = run(program)
    expect_lines(out, r"test cases: +6 \| +6 passed \| 0 failed")
    expect(time.monotonic() - began < 10, "20 s of Retry-After are not waited out", out)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
