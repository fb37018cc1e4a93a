#!/usr/bin/env python3
"""Builds the fuzzers of this folder with clang's libFuzzer, address and undefined behaviour sanitizers, and runs each.

  tests/fuzz/fuzz.py                          each for 20 seconds
  tests/fuzz/fuzz.py --seconds 600            each for ten minutes
  tests/fuzz/fuzz.py envelope url             these alone
  tests/fuzz/fuzz.py envelope --input FILE    one input again: a crash that was kept

Seeds are made from the texts of the tests. What was found stays in build/fuzz/NAME/corpus, so that the next run goes on
from there; an input that breaks a promise is build/fuzz/NAME/crash-... and its report is printed. CXX is the compiler,
clang++-16 unless it is set. With NANGO_UPSTREAM_HTTPLIB the default backend runs on upstream's header too, the one in
the last folder that it names.
"""
import argparse
import ast
import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / 'build' / 'fuzz'
CXX = os.environ.get('CXX', 'clang++-16')
UPSTREAM = os.environ.get('NANGO_UPSTREAM_HTTPLIB', '').split(':')[-1]  # the newest of several

# The tests whose texts are seeds, and the bytes that choose what else there is to choose.
TARGETS = {
    'envelope': (['unit/envelope.cpp', 'unit/client.cpp'], [b'\0\x1f\x1f', b'\x02\x1f\x1f', b'\x08' + b'7\x1f\x1f']),
    'bare': (['unit/hosted.cpp', 'support/hosted_answers.json'], [b'\0\x1f\x1f', b'\x02\x1f\x1f', b'\x05\x1f\x1f']),
    'url': (['unit/path.cpp', 'unit/client_options.cpp'], [b'\0\0\x1f', b'\0\1\x1f', b'\0\0', b'\0\0\x1fx\x1f']),
    'headers': (['unit/client.cpp', 'unit/client_options.cpp'],
                [b'\0\0\x1f\x1f\x1f\x1f\x1fX-A\x1f', b'\1\0\x1f', b'\0\0']),
    'retry_after': (['unit/envelope.cpp', 'unit/retry.cpp'], [b'\0', b'\4']),
    'times': (['unit/crm.cpp'], [b'\1']),
    'numbers': (['unit/crm.cpp', 'unit/client.cpp'], [bytes([which]) for which in range(8)]),
    'crm': (['unit/crm.cpp'], [bytes([which]) for which in range(6)]),
    'lists': (['unit/lists.cpp', 'unit/crm.cpp'], [b'\0\0\0\x1f\x1f', b'\1\0\0\x1f\x1f', b'\0\1\0\x1f\x1f']),
    'webhook': (['loopback/hosted_webhook.cpp'], [b'\0\0', b'\1\3key\x1f', b'\4\0key\x1fbody\x1f']),
    'client': (['unit/client_retries.cpp', 'unit/client_secrets.cpp', 'unit/client_limiter.cpp'],
               [b'', b'\7\xd0\0\2\0\x0a\1\0']),
    'limiter': (['unit/rate_limiter.cpp'], [b'', b'\1\x64\1\0\x10']),
    'backend': (['loopback/faults.cpp', 'loopback/httplib_answers.cpp', 'loopback/httplib_backend.cpp',
                 'support/faults.hpp', 'support/phases.hpp'], [b'\0\0\0\0\0', b'\7\0\0\1\0', b'\0\2\0\1\3']),
}
ON_HTTPLIB = {'webhook', 'backend', 'headers'}
WITH_SERVER = {'backend', 'headers'}


def texts_of(path):
    """The texts of a test: C++ string literals, those side by side joined, or the strings of a JSON file."""
    source = path.read_text()
    if path.suffix == '.json':
        return [line.encode() for line in source.splitlines()] + [
            ast.literal_eval(found).encode() for found in re.findall(r'"(?:[^"\\\n]|\\["\\/bfnrt])*"', source)]
    raw = r'R"\((?:.|\n)*?\)"'
    plain = r'"(?:[^"\\\n]|\\.)*"'
    texts = []
    for group in re.findall(rf'(?:(?:{raw}|{plain})\s*)+', source):
        text = b''
        for part in re.findall(rf'{raw}|{plain}', group):
            inner = part[3:-2] if part.startswith('R') else part[1:-1].encode().decode('unicode_escape')
            text += inner.encode('latin-1', 'replace') if not part.startswith('R') else inner.encode()
        texts.append(text)
    return texts


def write_seeds(name, folder):
    files, prefixes = TARGETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        for text in texts_of(HERE.parent / file):
            for prefix in prefixes:
                seed = prefix + text
                (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


def write_words(path):
    """What the header looks for, as libFuzzer's dictionary."""
    words = {text for text in texts_of(ROOT / 'nango.hpp') if 2 <= len(text) <= 24}
    path.write_text(''.join('"' + ''.join(f'\\x{byte:02X}' for byte in word) + '"\n' for word in sorted(words)))


def flags_of(name, upstream):
    flags = ['-std=c++20', '-g', '-O1', '-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all',
             '-fno-omit-frame-pointer', f'-I{ROOT}', f'-I{HERE.parent / "support"}', f'-I{HERE}', '-pthread']
    if name not in ON_HTTPLIB:
        return flags + ['-DNANGO_NO_HTTPLIB']
    if upstream:
        return flags + ['-isystem', UPSTREAM, '-DCPPHTTPLIB_OPENSSL_SUPPORT', '-lssl', '-lcrypto']
    packaged = subprocess.run(['pkg-config', '--cflags', '--libs', 'cpp-httplib', 'openssl'], check=True,
                              capture_output=True, text=True).stdout.split()
    return flags + packaged


def build(run):
    name, upstream = run
    folder = BUILD / (name + ('_upstream' if upstream else ''))
    folder.mkdir(parents=True, exist_ok=True)
    source = HERE / (name + '.cpp')
    subprocess.run([CXX, str(source), '-o', str(folder / 'fuzzer'), *flags_of(name, upstream)], check=True)
    return folder


def play(run, seconds):
    """Runs a fuzzer; its line of the table, and whether it held."""
    name = run[0]
    folder = build(run)
    corpus, seeds = folder / 'corpus', folder / 'seeds'
    corpus.mkdir(exist_ok=True)
    shutil.rmtree(seeds, ignore_errors=True)
    write_seeds(name, seeds)
    command = [str(folder / 'fuzzer'), str(corpus), str(seeds), f'-max_total_time={seconds}', '-timeout=20',
               '-rss_limit_mb=4096', '-max_len=4096', '-print_final_stats=1', f'-dict={BUILD / "words"}',
               f'-artifact_prefix={folder}/']
    if name in WITH_SERVER:
        command.append('-detect_leaks=0')  # its server's threads hold what they hold while it looks; soak measures
    done = subprocess.run(command, capture_output=True, text=True, errors='replace')
    figure = {key: int(value) for key, value in re.findall(r'stat::(\w+):\s+(\d+)', done.stderr)}
    covered = re.findall(r'cov: (\d+) ft: (\d+)', done.stderr) or [('0', '0')]
    held = done.returncode == 0
    print(f'{folder.name:18} {figure.get("number_of_executed_units", 0):>10} executions '
          f'{figure.get("average_exec_per_sec", 0):>8} a second {covered[-1][0]:>6} edges  {"ok" if held else "FAILED"}',
          flush=True)
    if not held:
        print('\n'.join(done.stderr.splitlines()[-60:]), flush=True)
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='*', help='those alone: ' + ', '.join(TARGETS))
    parser.add_argument('--seconds', type=int, default=20)
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--input', help='runs this input alone')
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error('there is no fuzzer ' + ', '.join(sorted(unknown)))
    if shutil.which(CXX) is None:
        print(f'skipped: the fuzzers need {CXX} with libFuzzer (or set CXX)')
        return 77
    BUILD.mkdir(parents=True, exist_ok=True)
    write_words(BUILD / 'words')
    runs = [(name, False) for name in options.targets or TARGETS]
    if options.input:
        return subprocess.run([str(build(runs[0]) / 'fuzzer'), options.input]).returncode
    if UPSTREAM:
        runs += [(name, True) for name, _ in runs if name in WITH_SERVER]
    else:
        print('skipped: the default backend on upstream\'s httplib.h (NANGO_UPSTREAM_HTTPLIB is not set)')
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        held = list(pool.map(lambda run: play(run, options.seconds), runs))
    return 0 if all(held) else 1


if __name__ == '__main__':
    sys.exit(main())
