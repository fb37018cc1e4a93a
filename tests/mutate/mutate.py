#!/usr/bin/env python3
"""Judges the tests by the bugs that they catch: makes small changes to nango.hpp, one at a time, and runs the tests.

  tests/mutate/mutate.py                        30 mutants, chosen by a hash of nango.hpp; fails below 80 % killed
  tests/mutate/mutate.py --count 320 --least 90
  tests/mutate/mutate.py --section Envelope --count 1000
  tests/mutate/mutate.py --only 3fa94b1c        one, with the output of its tests
  tests/mutate/mutate.py --list                 all that there are, without running them

A mutant is compiled with the tests of its section, the quick ones first; what survives those meets the whole suite. It
is killed by the first test that fails, crashes, hangs or does not compile for a static_assert. What does not compile for
another reason is no mutant. Those that change nothing that anybody can see stand in equivalent.txt, each with the
reason, and are left out. CXX is the compiler, clang++-16 unless it is set.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
HEADER = TESTS.parent / 'nango.hpp'
CXX = os.environ.get('CXX', 'clang++-16')

# By the banners of the header. What is quick and near comes first.
SECTIONS = {
    'Errors': ['error', 'result', 'client_secrets', 'client_options'],
    'HTTP seam': ['http_seam'],
    'Rate limiter': ['rate_limiter_simulation', 'client_limiter', 'rate_limiter', 'rate_limiter_line',
                     'rate_limiter_promise', 'rate_limiter_memory'],
    'Time that does not overflow': ['client_retries', 'rate_limiter_simulation', 'rate_limiter', 'rate_limiter_line'],
    'Paths and queries': ['path', 'client_options', 'client'],
    'Envelope': ['envelope', 'lists'],
    'Retries': ['retry'],
    'Client': ['client', 'client_options', 'client_retries', 'client_limiter', 'client_secrets', 'lists'],
    'Default backend': ['httplib_answers', 'httplib_requests', 'httplib_backend', 'httplib_compression',
                        'faults_certificates', 'faults_cancel', 'httplib_pool', 'httplib_memory', 'faults_memory',
                        'httplib_connecting', 'faults_proxy', 'faults_threads', 'faults_sigpipe'],
    'CRM resources': ['crm'],
    'Hosted API': ['hosted', 'hosted_actions', 'hosted_upstream', 'hosted_webhook'],
}
ALL = ['error', 'result', 'http_seam', 'path', 'envelope', 'retry', 'client', 'client_options', 'client_retries',
       'client_limiter', 'client_secrets', 'lists', 'crm', 'hosted', 'hosted_actions', 'hosted_upstream',
       'rate_limiter_simulation', 'rate_limiter', 'rate_limiter_line', 'rate_limiter_promise', 'rate_limiter_memory']
ON_HTTPLIB = set(SECTIONS['Default backend']) | {'hosted_webhook', 'faults'}
SLOW_CASE = '*is idle for 50 s*'
PATIENCE = {'faults': 240, 'faults_proxy': 60, 'faults_sigpipe': 90, 'faults_threads': 60, 'rate_limiter_memory': 60}  # seconds
WHOLE_SUITE = {section: ALL for section in ('Errors', 'Rate limiter', 'Time that does not overflow')}
WHOLE_SUITE['Default backend'] = SECTIONS['Default backend'] + ['faults']  # no other test meets the backend ...
OTHERS = ALL[:-5]  # ... nor do the limiter's tests meet anything else

SWAPS = [('relation', ' < ', ' <= '), ('relation', ' <= ', ' < '), ('relation', ' > ', ' >= '),
         ('relation', ' >= ', ' > '), ('relation', ' == ', ' != '), ('relation', ' != ', ' == '),
         ('arithmetic', ' + ', ' - '), ('arithmetic', ' - ', ' + '), ('arithmetic', ' * ', ' / '),
         ('arithmetic', ' / ', ' * '), ('arithmetic', ' % ', ' / '), ('arithmetic', '++', '--'),
         ('arithmetic', '--', '++'), ('arithmetic', ' += ', ' -= '), ('boolean', ' && ', ' || '),
         ('boolean', ' || ', ' && '), ('boolean', 'true', 'false'), ('boolean', 'false', 'true'),
         ('boolean', '(std::min)', '(std::max)'), ('boolean', '(std::max)', '(std::min)')]
ENUMERATORS = {
    'errc': ['params_error', 'processing_error', 'auth_error', 'api_error', 'rate_limited', 'unexpected_status',
             'invalid_argument', 'malformed_response', 'decode_error', 'response_too_large', 'connection_failed',
             'tls_failed', 'timed_out', 'canceled'],
    'fault': ['none', 'too_large', 'malformed'],
    'ending': ['none', 'deadline', 'canceled'],
}

Mutant = collections.namedtuple('Mutant', 'name section operator line before after')


def sections_of(lines):
    """The section of each line, or None: by `// Name: ...` between rules, and by `// --- Name ---`. What only Windows
    compiles has none."""
    current, found, private, on_windows = None, [], False, False
    for number, line in enumerate(lines):
        on_windows = line.startswith('#ifdef _WIN32') or (on_windows and not line.startswith(('#else', '#endif')))
        if line.startswith('// ===='):
            current, private = None, True
        heading = re.match(r'// --- ([\w ]+?) -{3,}$', line)
        if not private and lines[number - 1].startswith('// -----') and line.startswith('// '):
            heading = re.match(r'// ([\w ]+):', line)
        if heading:
            current = heading[1]
        found.append(current if current in SECTIONS and not on_windows else None)
    return found


def is_code(line):
    text = line.strip()
    if not text or text.startswith(('//', '#', 'template', 'static_assert', 'using ', 'struct ', 'class ', 'concept')):
        return False
    return not re.match(r'(requires|namespace|public:|private:|friend)', text)


def masked(line):
    """The line with texts and comments blanked out, so that nothing is found in them."""
    line = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', lambda found: '\0' * len(found[0]), line)
    return re.sub(r'//.*', lambda found: '\0' * len(found[0]), line)


def end_of_bracket(text, at):
    depth = 0
    for place in range(at, len(text)):
        depth += {'(': 1, ')': -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None


def changes(line):
    """All small changes of a line: (operator, the line after it)."""
    code = masked(line)
    for operator, old, new in SWAPS:
        for found in re.finditer(re.escape(old), code):
            if old in ('true', 'false') and not re.search(rf'(?<![\w]){old}(?![\w])', code[found.start() - 1:found.end() + 1]):
                continue
            yield operator, line[:found.start()] + new + line[found.end():]
    for found in re.finditer(r"(?<![\w.'])(\d+)(?![\w.'])", code):
        for other in (int(found[1]) + 1, int(found[1]) - 1):
            if other >= 0:
                yield 'constant', line[:found.start()] + str(other) + line[found.end():]
    for found in re.finditer(r'!(?=[\w(])', code):
        yield 'negation', line[:found.start()] + line[found.end():]
    for found in re.finditer(r'\bif \(', code):
        end = end_of_bracket(code, found.end() - 1)
        if end is not None and ';' not in code[found.end():end]:
            for value in ('true', 'false'):
                yield 'condition', line[:found.end()] + value + line[end:]
    if re.fullmatch(r'\s+[\w:.>*()\[\]-]+(\(.*\)| [-+|]?= .*|\+\+|--);\s*(//.*)?', line.rstrip('\n')) and 'return' not in code:
        if not re.match(r'\s+(const |auto |static |constexpr |[\w:<>]+ \w+(\(| =|;))', line):
            yield 'removal', re.match(r'\s+', line)[0] + ';\n'
    for found in re.finditer(r'\((\w+), (\w+)\)', code):
        yield 'arguments', line[:found.start()] + f'({found[2]}, {found[1]})' + line[found.end():]
    for kind, names in ENUMERATORS.items():
        for found in re.finditer(rf'\b{kind}::(\w+)', code):
            if found[1] in names and 'case ' not in code and 'errc_entry' not in code:
                other = names[(names.index(found[1]) + 3) % len(names)]
                yield 'enumerator', line[:found.start(1)] + other + line[found.end(1):]
    for found in re.finditer(r'\breturn ([^;{}]+);', code):
        if re.search(r' (<|>|<=|>=|==|!=|&&|\|\|) |^!', found[1]):
            for value in ('true', 'false'):
                yield 'return', line[:found.start(1)] + value + line[found.end(1):]


def all_mutants():
    lines = HEADER.read_text().splitlines(keepends=True)
    equivalent = read_equivalents()
    mutants, seen, used = [], collections.Counter(), set()
    for number, (line, section) in enumerate(zip(lines, sections_of(lines))):
        if section is None or not is_code(line):
            continue
        for operator, changed in changes(line):
            key = (section, operator, line.strip(), changed.strip())
            seen[key] += 1
            if key[2:] in equivalent:
                used.add(key[2:])
                continue
            name = hashlib.sha1(repr((key, seen[key])).encode()).hexdigest()[:8]
            mutants.append(Mutant(name, section, operator, number, line, changed))
    for stale in set(equivalent) - used:
        print('equivalent.txt has what is no mutant any more: ' + ' => '.join(stale))
    return lines, mutants, not set(equivalent) - used


def read_equivalents():
    """Three lines each: a reason after '#', the line as it is, the line as it would be; both without their indents."""
    block, found = [], {}
    for line in (HERE / 'equivalent.txt').read_text().splitlines() + ['']:
        if line.strip():
            block.append(line.strip())
        elif block:
            reasons = [text for text in block if text.startswith('# ')]
            before, after = [text for text in block if not text.startswith('# ')]
            if not reasons:
                sys.exit(f'equivalent.txt: no reason for: {before}')
            found[(before, after)] = ' '.join(reasons)
            block = []
    return found


def choose(mutants, count, seed):
    """By section, in proportion, at least three of each: spread over the lines."""
    chance = random.Random(seed)
    by_section = collections.defaultdict(list)
    for mutant in mutants:
        by_section[mutant.section].append(mutant)
    chosen = []
    for section, all_of_it in by_section.items():
        share = max(round(count * len(all_of_it) / len(mutants)), min(3, count // len(by_section)))
        chosen += chance.sample(all_of_it, min(share, len(all_of_it)))
    return chosen


class Bench:
    """Compiles and runs tests on a changed header."""

    def __init__(self, folder, is_near):
        self.folder = folder
        self.is_near = is_near
        common = ['-std=c++20', '-O0', '-w', f'-I{TESTS / "support"}', '-pthread',
                  f'-DHOSTED_ANSWERS="{TESTS / "support/hosted_answers.json"}"']
        packaged = subprocess.run(['pkg-config', '--cflags', 'cpp-httplib', 'openssl'], check=True, capture_output=True,
                                  text=True).stdout.split()
        self.links = subprocess.run(['pkg-config', '--libs', 'cpp-httplib', 'openssl', 'zlib'], check=True,
                                    capture_output=True, text=True).stdout.split()
        self.flags = {False: common + ['-DNANGO_NO_HTTPLIB'], True: common + packaged}
        for on_httplib, flags in self.flags.items():
            self.precompile(on_httplib, flags)
        subprocess.run([CXX, *common, '-c', str(TESTS / 'main.cpp'), '-o', str(folder / 'main.o')], check=True)

    def precompile(self, on_httplib, flags):
        """What nango.hpp and the tests include, without nango.hpp."""
        includes = re.findall(r'#include <[^>]+>', HEADER.read_text())
        left_out = re.compile(r'wincrypt' if on_httplib else r'wincrypt|httplib|openssl')
        texts = ['#include <doctest/doctest.h>'] + [line for line in includes if not left_out.search(line)]
        source = self.folder / f'before_{on_httplib}.hpp'
        source.write_text('\n'.join(texts) + '\n')
        compiled = source.with_suffix('.pch')
        subprocess.run([CXX, *flags, '-fpch-instantiate-templates', '-x', 'c++-header', str(source), '-o', str(compiled)],
                       check=True)
        flags += ['-include-pch', str(compiled)]

    def verdict(self, test, where):
        """None: it passed. Else why the mutant is dead, or 'stillborn'."""
        on_httplib = test in ON_HTTPLIB
        program = where / test
        command = [CXX, *self.flags[on_httplib], f'-I{where}', str(next(TESTS.glob(f'*/{test}.cpp'))), str(self.folder / 'main.o'),
                   '-o', str(program), *(self.links if on_httplib else [])]
        compiled = subprocess.run(command, capture_output=True, text=True, errors='replace')
        if compiled.returncode != 0:
            return f'{test}: static_assert' if 'static assertion failed' in compiled.stderr else 'stillborn'
        try:
            run = subprocess.run([str(program), '--abort-after=1', '--test-case-exclude=' + SLOW_CASE],
                                 capture_output=True, text=True, errors='replace',
                                 timeout=PATIENCE.get(test, 40), env={**os.environ, 'NANGO_TEST_SEEDS': '30'})
        except subprocess.TimeoutExpired:
            return f'{test}: hangs'
        finally:
            program.unlink(missing_ok=True)
        if run.returncode == 0:
            return None
        case = re.search(r'TEST CASE: +(.*)', run.stdout)
        return f'{test}: {case[1] if case else "crashed"}'

    def judge(self, lines, mutant):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            where = pathlib.Path(folder)
            changed = lines[:]
            changed[mutant.line] = mutant.after
            (where / 'nango.hpp').write_text(''.join(changed))
            near = SECTIONS[mutant.section]
            rest = [] if self.is_near else WHOLE_SUITE.get(mutant.section, OTHERS)
            for test in near + [test for test in rest if test not in near]:
                if (dead := self.verdict(test, where)) is not None:
                    return dead
        return None


def show(mutant):
    return f'{mutant.name} {mutant.section}, {mutant.operator}, line {mutant.line + 1}:\n' \
           f'    - {mutant.before.strip()}\n    + {mutant.after.strip()}'


def report(results):
    """The table, and how many per cent were killed."""
    table = collections.defaultdict(collections.Counter)
    for mutant, dead in results:
        fate = 'survived' if dead is None else 'stillborn' if dead == 'stillborn' else 'killed'
        table[mutant.section][fate] += 1
        table['all'][fate] += 1
    print(f'\n{"section":30}{"mutants":>8}{"killed":>8}{"survived":>9}')
    for section in [*SECTIONS, 'all']:
        counts = table[section]
        print(f'{section:30}{counts["killed"] + counts["survived"]:>8}{counts["killed"]:>8}{counts["survived"]:>9}')
    total = table['all']['killed'] + table['all']['survived']
    return 100 * table['all']['killed'] / total if total else 100


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=30)
    parser.add_argument('--least', type=float, default=80, help='per cent that have to be killed')
    parser.add_argument('--seed', help='what chooses; a hash of nango.hpp unless it is given')
    parser.add_argument('--section', choices=SECTIONS)
    parser.add_argument('--only', nargs='+', help='names of mutants')
    parser.add_argument('--near', action='store_true', help='what survives its section is not shown to the whole suite')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    return parser.parse_args()


def main():
    options = parse_arguments()
    if shutil.which(CXX) is None:
        print(f'skipped: the mutants need {CXX} (or set CXX)')
        return 77
    lines, mutants, is_clean = all_mutants()
    if options.section:
        mutants = [mutant for mutant in mutants if mutant.section == options.section]
    if options.only:
        chosen = [mutant for mutant in mutants if mutant.name in options.only]
    else:
        chosen = choose(mutants, options.count, options.seed or hashlib.sha1(HEADER.read_bytes()).hexdigest())
    if options.list:
        print('\n'.join(show(mutant) for mutant in mutants))
        print(len(mutants), 'mutants')
        return 0
    results = []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        bench = Bench(pathlib.Path(folder), options.near)
        for mutant, dead in zip(chosen, pool.map(lambda mutant: bench.judge(lines, mutant), chosen)):
            results.append((mutant, dead))
            print(f'{"SURVIVED" if dead is None else dead}\n{show(mutant)}', flush=True)
    killed = report(results)
    print(f'{killed:.1f} % killed, of {options.least:g} % that have to be')
    return 0 if killed >= options.least and is_clean else 1


if __name__ == '__main__':
    sys.exit(main())
