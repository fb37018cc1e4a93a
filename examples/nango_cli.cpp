// A command line client for the CRM resources, and with --hosted for today's service. `nango_cli --help` has examples.
// It prints a table on a terminal and JSON elsewhere. Control characters in a server's texts never reach the terminal.

#ifdef _WIN32
#define NOMINMAX
#include <winsock2.h>

#include <io.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif
#include <signal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <clocale>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cwchar>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "nango.hpp"

namespace {

namespace crm = nango::crm;
namespace hosted = nango::hosted;
using nango::json;
using std::chrono::milliseconds;

// --- What systems differ in: the terminal, and Ctrl-C ---

using signal_handler = void(int);
#ifdef _WIN32
bool is_terminal(std::FILE* file) { return ::_isatty(::_fileno(file)) != 0; }
std::size_t terminal_width() {  // 0: standard output is none
  CONSOLE_SCREEN_BUFFER_INFO seen{};
  const bool is_one = ::GetConsoleScreenBufferInfo(::GetStdHandle(STD_OUTPUT_HANDLE), &seen) != 0;
  return is_one ? static_cast<std::size_t>(seen.srWindow.Right - seen.srWindow.Left + 1) : 0;
}
int columns_of_wide(wchar_t) { return 1; }  // there is no table of them
void on_interrupt(signal_handler* handler) {
  ::SetConsoleOutputCP(CP_UTF8);
  ::signal(SIGINT, handler);
}
#else
bool is_terminal(std::FILE* file) { return ::isatty(::fileno(file)) == 1; }
std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}
int columns_of_wide(wchar_t character) { return ::wcwidth(character); }
void on_interrupt(signal_handler* handler) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESETHAND;  // a second Ctrl-C kills
  ::sigaction(SIGINT, &action, nullptr);
}
#endif

// --- Exit codes -----------------------------------------------------------------------------------------------------

constexpr const char* exit_codes = R"(Exit codes:
  0  all went well
  1  the output could not be written
  2  the command is wrong, or the key or the user token is missing; nothing was sent
  3  PARAMS_ERROR: the API refused the parameters
  4  AUTH_ERROR: the API refused the key or the user token
  5  the API, or a gateway before it, failed
  6  rate limited
  7  no connection, or none that can be trusted
  8  timed out
  9  the answer cannot be used
  130  interrupted)";

int exit_code_of(const nango::error& e) {
  using nango::errc;
  switch (e.code) {
    case errc::invalid_argument: return 2;
    case errc::params_error: return 3;
    case errc::auth_error: return 4;
    case errc::processing_error:
    case errc::api_error:
    case errc::unexpected_status: return 5;
    case errc::rate_limited: return 6;
    case errc::connection_failed:
    case errc::tls_failed: return 7;
    case errc::timed_out: return 8;
    case errc::malformed_response:
    case errc::decode_error:
    case errc::response_too_large: return 9;
    case errc::canceled: break;
  }
  return 130;
}

// --- Text for people ------------------------------------------------------------------------------------------------

// The first character of valid UTF-8, and its length in bytes.
std::pair<std::uint32_t, std::size_t> first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if (size > text.size()) return {0xfffd, text.size()};
  auto character = size == 1 ? byte(0) : byte(0) & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) character = (character << 6) | (byte(i) & 0x3fU);
  return {character, size};
}

// Characters that move the cursor, set colours or change the direction of text are shown as JSON escapes.
bool is_harmful(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || (c >= 0x200e && c <= 0x200f) ||
         (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}
std::string harmless(std::string_view text, bool keep_lines) {
  std::string out;
  while (!text.empty()) {
    const auto [character, size] = first_character(text);
    if (!is_harmful(character) || (keep_lines && character == '\n')) {
      out += text.substr(0, size);
    } else {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(character));
      out += escape.data();
    }
    text.remove_prefix(size);
  }
  return out;
}

// Columns of a terminal: combining characters take none, most East Asian ones two.
std::size_t columns_of(std::uint32_t character) {
  const int columns = columns_of_wide(static_cast<wchar_t>(character));
  return columns < 0 ? 1 : static_cast<std::size_t>(columns);
}
std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const auto [character, size] = first_character(text);
    columns += columns_of(character);
    text.remove_prefix(size);
  }
  return columns;
}
// The text in exactly that many columns: padded with spaces, or cut with an ellipsis.
std::string fitted(std::string_view text, std::size_t columns) {
  const auto all = columns_of(text);
  if (all <= columns) return std::string(text) + std::string(columns - all, ' ');
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const auto [character, size] = first_character(text);
    if (used + columns_of(character) + 1 > columns) break;
    used += columns_of(character);
    out += text.substr(0, size);
    text.remove_prefix(size);
  }
  return out + "…" + std::string(columns - used - 1, ' ');
}

std::string number_text(double value) {
  auto text = json(value).dump();
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}
std::string text_of(const std::optional<std::string>& value) { return value.value_or(""); }
std::string text_of(const std::optional<double>& value) { return value ? number_text(*value) : ""; }
std::string text_of(const std::optional<bool>& value) { return value ? (*value ? "yes" : "no") : ""; }

// --- Columns of the records -----------------------------------------------------------------------------------------

template <class Record> struct column {
  const char* name;
  std::function<std::string(const Record&)> text;
};

std::vector<column<crm::contact>> columns_for(const crm::contact&) {
  using record = crm::contact;
  return {
      {"first_name", [](const record& r) { return text_of(r.first_name); }},
      {"last_name", [](const record& r) { return text_of(r.last_name); }},
      {"job_title", [](const record& r) { return text_of(r.job_title); }},
      {"email", [](const record& r) { return r.email_addresses.empty() ? "" : text_of(r.email_addresses[0].email); }},
      {"phone",
       [](const record& r) { return r.phone_numbers.empty() ? "" : text_of(r.phone_numbers[0].phone_number); }},
      {"account", [](const record& r) { return text_of(r.account); }},
      {"id", [](const record& r) { return r.id; }}};
}
std::vector<column<crm::account>> columns_for(const crm::account&) {
  using record = crm::account;
  return {{"name", [](const record& r) { return text_of(r.name); }},
          {"industry", [](const record& r) { return text_of(r.industry); }},
          {"annual_revenue", [](const record& r) { return text_of(r.annual_revenue); }},
          {"employees", [](const record& r) { return text_of(r.number_of_employees); }},
          {"website", [](const record& r) { return text_of(r.website); }},
          {"contacts", [](const record& r) { return std::to_string(r.contacts.size()); }},
          {"id", [](const record& r) { return r.id; }}};
}
std::vector<column<crm::opportunity>> columns_for(const crm::opportunity&) {
  using record = crm::opportunity;
  const auto date = [](const record& r) {
    return r.close_date ? json(r).at("close_date").get<std::string>().substr(0, 10) : "";
  };
  return {{"name", [](const record& r) { return text_of(r.name); }},
          {"stage", [](const record& r) { return text_of(r.stage); }},
          {"amount", [](const record& r) { return text_of(r.amount); }},
          {"probability", [](const record& r) { return text_of(r.probability); }},
          {"close_date", date},
          {"is_won", [](const record& r) { return text_of(r.is_won); }},
          {"id", [](const record& r) { return r.id; }}};
}

// --- Output ---------------------------------------------------------------------------------------------------------

enum class format { json_text, table, csv };

using rows = std::vector<std::vector<std::string>>;  // the first row has the names

template <class Record> rows rows_of(const std::vector<Record>& records) {
  const auto columns = columns_for(Record());
  rows all(1);
  for (const auto& column : columns) all[0].push_back(column.name);
  for (const auto& record : records) {
    all.emplace_back();
    for (const auto& column : columns) all.back().push_back(column.text(record));
  }
  return all;
}

// Narrows the widest columns until all fit.
std::vector<std::size_t> widths_of(const rows& all, std::size_t terminal) {
  std::vector<std::size_t> widths(all[0].size());
  for (const auto& row : all) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = (std::max)(widths[i], columns_of(row[i]));
  }
  const auto sum = [&] { return std::accumulate(widths.begin(), widths.end(), 2 * (widths.size() - 1)); };
  for (auto widest = widths.begin(); terminal != 0 && sum() > terminal; --*widest) {
    widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= 4) break;
  }
  return widths;
}
void print_table(std::ostream& out, rows all) {
  for (auto& row : all) {
    for (auto& cell : row) cell = harmless(cell, false);
  }
  const auto widths = widths_of(all, terminal_width());
  for (const auto& row : all) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += (i == 0 ? "" : "  ") + fitted(row[i], widths[i]);
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
}

// CSV by RFC 4180; texts are not escaped for the terminal.
void print_csv(std::ostream& out, const rows& all) {
  for (const auto& row : all) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i != 0) out << ',';
      if (row[i].find_first_of("\",\r\n") == std::string::npos) {
        out << row[i];
        continue;
      }
      out << '"';
      for (const char c : row[i]) out << (c == '"' ? "\"\"" : std::string(1, c));
      out << '"';
    }
    out << "\r\n";
  }
}

void print_json(std::ostream& out, const json& value) { out << harmless(value.dump(2), true) << '\n'; }

template <class Record>
void print(std::ostream& out, format as, const std::vector<Record>& records, const json& whole) {
  if (as == format::json_text) print_json(out, whole);
  if (as == format::table) print_table(out, rows_of(records));
  if (as == format::csv) print_csv(out, rows_of(records));
}

// Shows on a terminal that a call takes long.
class progress {
 public:
  progress() {
    if (is_terminal(stderr)) thread_ = std::thread([this] { run(); });
  }
  ~progress() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
      wake_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
  }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

 private:
  void run() {
    std::unique_lock lock(mutex_);
    int seconds = 0;
    while (!wake_.wait_for(lock, std::chrono::seconds(1), [this] { return done_; })) {
      std::cerr << "\rwaiting for the API: " << ++seconds << " s" << std::flush;
    }
    if (seconds > 0) std::cerr << "\r\x1b[K" << std::flush;
  }

  std::mutex mutex_{};
  std::condition_variable wake_{};
  bool done_ = false;
  std::thread thread_{};
};

template <class Call> auto waited(const Call& call) {
  const progress told;
  return call();
}

// --- Input ----------------------------------------------------------------------------------------------------------

// A mistake on the command line, in a sentence of its own. (CLI::ValidationError puts an option's name and a colon in
// front of its words.)
struct mistake : CLI::ParseError {
  explicit mistake(const std::string& words)
      : CLI::ParseError("ValidationError", words, CLI::ExitCodes::ValidationError) {}
};

milliseconds parse_duration(const std::string& text) {
  long long value = 0;
  const auto* const end = text.data() + text.size();
  const auto [unit, failure] = std::from_chars(text.data(), end, value);
  const std::string_view name(unit, static_cast<std::size_t>(end - unit));
  for (const auto& [known, factor] : {std::pair{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}) {
    if (failure == std::errc() && name == known && value > 0 && value < 1'000'000) return milliseconds(value * factor);
  }
  throw mistake("--timeout must be a number and ms, s, m or h, such as 500ms, 30s or 2m");
}

std::string read_key(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || std::filesystem::is_directory(path)) throw mistake("--key-file cannot be read: " + path);
  auto key = text.str();
  while (key.ends_with('\n') || key.ends_with('\r')) key.pop_back();
  if (key.empty()) throw mistake("--key-file has no key in it: " + path);
  return key;
}

nango::query parse_query(const std::vector<std::string>& parts) {
  nango::query parameters;
  for (const auto& part : parts) {
    const auto equals = part.find('=');
    if (equals == std::string::npos || equals == 0) throw mistake("-q must be NAME=VALUE: " + part);
    parameters.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  }
  return parameters;
}

// How many letters have to be put in, left out or changed (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto changed = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      changed += a[i] == b[j] ? 0 : 1;
      changed = std::exchange(row[j + 1], (std::min)({changed, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}
// Names the word that is unknown, and the one that was probably meant.
std::string unknown_word(const CLI::App& app, std::string word) {
  word = word.substr(0, word.find('='));
  std::vector<std::string> known;
  for (const auto* command : app.get_subcommands({})) {
    known.push_back(command->get_name());
    for (const auto* option : command->get_options()) {
      for (const auto& name : option->get_lnames()) known.push_back("--" + name);
    }
  }
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) known.push_back("--" + name);
  }
  const auto closest = std::min_element(
      known.begin(), known.end(), [&](const auto& a, const auto& b) { return distance(word, a) < distance(word, b); });
  const auto offer = distance(word, *closest) <= 2 ? "; did you mean " + *closest + "?" : std::string();
  return (word.starts_with('-') ? "there is no option " : "there is no command ") + word + offer;
}

// What -v shows of each attempt. The client has masked the secrets.
void show_attempt(const nango::attempt& seen) {
  const auto ms = [](auto time) { return std::to_string(std::chrono::round<milliseconds>(time).count()) + " ms"; };
  std::ostringstream text;
  text << "* " << seen.method << ' ' << seen.path << ", attempt " << seen.number << ": ";
  text << (seen.outcome ? to_string(*seen.outcome) : "ok") << ", HTTP " << seen.http_status << ", took "
       << ms(seen.elapsed) << ", waited " << ms(seen.waited) << " for the rate limiter\n";
  for (const auto& [name, value] : seen.headers) text << "< " << name << ": " << value << '\n';
  if (seen.retry_in) text << "* tries again in " << ms(*seen.retry_in) << '\n';
  std::cerr << harmless(text.str(), true);
}

nango::cancel_source interrupt;  // cancel() is async-signal-safe
void on_signal(int) { interrupt.cancel(); }

// The options and arguments of the command line.
struct arguments {
  std::string key_file{}, user{}, connection{}, provider{}, base_url{}, ca_file{}, timeout{"30s"}, unused_key{};
  bool hosted = false, verbose = false, as_json = false, as_table = false, as_csv = false, include_raw = false;
  std::string path{}, id{}, name{};
  std::string method{}, model{}, cursor{}, action{}, data{};  // with --hosted
  std::vector<std::string> query{}, emails{}, accounts{};
};

class program {
 public:
  int run(int argc, char** argv) {
    CLI::App app("Reads an end user's CRM through the Nango API.", "nango_cli");
    declare(app);
    declare_hosted(app);
    try {
      app.parse(argc, argv);
      if (!given_.unused_key.empty()) {
        throw mistake(
            "--key is not taken, since all users of a machine see each other's arguments: set NANGO_API_KEY, or name a "
            "file with --key-file");
      }
      return call();
    } catch (const CLI::ParseError& e) {
      if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
      const auto rest = app.remaining(true);
      std::cerr << "nango_cli: " << harmless(rest.empty() ? e.what() : unknown_word(app, rest.front()), false)
                << "\nnango_cli --help has examples\n";
      return 2;
    }
  }

 private:
  void declare(CLI::App& app) {
    app.set_version_flag("--version", "nango_cli of nango.hpp " NANGO_VERSION);
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(std::string(R"(Examples:
  nango_cli contacts --name Rolf
  nango_cli contacts --email rolf@example.com --email ase@example.org --csv > contacts.csv
  nango_cli accounts 5f7d0c52-1f6b-4c1e-9a54-30d6f2b8aa01 --include-raw --json
  nango_cli get crm/contacts -q name=Rolf | jq '.[].id'
  nango_cli --hosted connections
  nango_cli --hosted --connection c-1 --provider github records Issue | jq '.[].title'
  nango_cli --hosted proxy GET user/repos -q per_page=50
  nango_cli --hosted action create-issue --data '{"title":"it rains"}' --timeout 10m

The API key comes from NANGO_API_KEY or --key-file. Without a format the output is a table on a terminal, else JSON.
CSV has each text as it came: a spreadsheet may take one that begins with = for a formula.

)") + exit_codes);
    app.add_option("--key-file", given_.key_file, "File with the API key (instead of NANGO_API_KEY)")
        ->type_name("FILE");
    app.add_option("--key", given_.unused_key)->group("");  // hidden; its error says why there is no such option
    app.add_option("--user", given_.user, "User token")->type_name("TOKEN")->envname("NANGO_USER_TOKEN");
    app.add_option("--base-url", given_.base_url, "Where the API is")->type_name("URL")->envname("NANGO_BASE_URL");
    app.add_option("--ca-file", given_.ca_file, "Authorities to trust instead of the system's, as PEM")
        ->type_name("FILE");
    app.add_flag("-v,--verbose", given_.verbose, "Attempts, waits and the answers' headers, on standard error");
    app.add_option("--timeout", given_.timeout, "Of the whole call, such as 500ms, 30s or 2m")->capture_default_str();
    auto* const table = app.add_flag("--table", given_.as_table, "A table, as wide as the terminal");
    auto* const csv = app.add_flag("--csv", given_.as_csv, "CSV, with a line of names")->excludes(table);
    app.add_flag("--json", given_.as_json, "JSON")->excludes(table)->excludes(csv);

    get_ = app.add_subcommand("get", "The result of any path, as JSON");
    declare_path(get_, "Such as crm/contacts");
    contacts_ = declare_records(app, "contacts", "Contacts, or one of them");
    contacts_->add_option("--email", given_.emails, "With this address; may be repeated")->allow_extra_args(false);
    contacts_->add_option("--account", given_.accounts, "Of the account with this id; may be repeated")
        ->allow_extra_args(false);
    accounts_ = declare_records(app, "accounts", "Accounts, or one of them");
    opportunities_ = declare_records(app, "opportunities", "Opportunities, or one of them");
  }
  void declare_path(CLI::App* command, const char* what) {
    command->add_option("path", given_.path, what)->required();
    command->add_option("-q,--query", given_.query, "A parameter; may be repeated")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
  }
  void declare_hosted(CLI::App& app) {
    app.add_flag("--hosted", given_.hosted, "Today's service, with connections in place of user tokens");
    app.add_option("--connection", given_.connection, "Connection id, with --hosted")
        ->type_name("ID")
        ->envname("NANGO_CONNECTION_ID");
    app.add_option("--provider", given_.provider, "The connection's integration, with --hosted")
        ->type_name("KEY")
        ->envname("NANGO_PROVIDER_CONFIG_KEY");
    connections_ = app.add_subcommand("connections", "All connections, as JSON (--hosted)");
    records_ = app.add_subcommand("records", "The records of a model, as JSON (--hosted)");
    records_->add_option("model", given_.model, "Such as Contact")->required();
    records_->add_option("--cursor", given_.cursor, "Those after the record with this cursor");
    proxy_ = app.add_subcommand("proxy", "The connected API's own answer, as JSON (--hosted)");
    proxy_->add_option("method", given_.method, "Such as GET")->required();
    declare_path(proxy_, "Such as user/repos");
    action_ = app.add_subcommand("action", "Runs an action; its result, as JSON (--hosted)");
    action_->add_option("name", given_.action, "Such as create-issue")->required();
    for (auto* const command : {proxy_, action_}) command->add_option("--data", given_.data, "What to send: JSON");
  }
  CLI::App* declare_records(CLI::App& app, const char* name, const char* what) {
    auto* const command = app.add_subcommand(name, what);
    command->add_option("id", given_.id, "Of one record");
    command->add_option("--name", given_.name, "With this in the name");
    command->add_flag("--include-raw", given_.include_raw, "With what the CRM has (in JSON)");
    return command;
  }

  nango::client_options options() const {
    auto key = given_.key_file.empty() ? nango::env("NANGO_API_KEY") : read_key(given_.key_file);
    if (key.empty()) throw mistake("the API key is missing: set NANGO_API_KEY, or name a file with --key-file");
    auto made = given_.hosted ? hosted::options(std::move(key)) : nango::client_options{.api_key = std::move(key)};
    made.timeout = parse_duration(given_.timeout);
    made.ca_file = given_.ca_file;
    if (!given_.base_url.empty()) made.base_url = given_.base_url;
    if (given_.verbose) made.on_attempt = show_attempt;
    return made;
  }
  int call() {
    const auto with = options();
    const bool of_hosted = connections_->parsed() || records_->parsed() || proxy_->parsed() || action_->parsed();
    if (!get_->parsed() && of_hosted != given_.hosted) {
      throw mistake(of_hosted ? "the command is one of --hosted" : "the command is none of --hosted");
    }
    if (!given_.hosted && given_.user.empty())
      throw mistake("the user token is missing: give --user, or set NANGO_USER_TOKEN");
    const auto made = nango::client::create(with);
    if (!made) return report(made.error());
    if (given_.hosted) return call_hosted(*made, {.cancel = interrupt.token()});
    return call_crm((*made).user(given_.user), {.cancel = interrupt.token()});
  }

  static int show_json(const nango::result<json>& got) {
    return show(got, [](std::ostream& out, const json& result) { print_json(out, result); });
  }
  int get(const nango::client& from, const nango::call_options& each) const {
    if (given_.as_table || given_.as_csv) throw mistake("get prints JSON only");
    const auto parameters = parse_query(given_.query);
    return show_json(waited([&] { return from.get(given_.path, parameters, each); }));
  }

  int call_hosted(const nango::client& api, const nango::call_options& each) const {
    if (given_.as_table || given_.as_csv) throw mistake("--hosted prints JSON only");
    if (connections_->parsed()) {
      auto all = waited([&] { return api.get("connections", {{"limit", 2'000}}, each); });
      return show_json(std::move(all).transform([](json&& answer) { return answer.value("connections", json()); }));
    }
    const bool named = !given_.connection.empty() && !given_.provider.empty();
    if (get_->parsed()) return get(named ? hosted::connection(api, given_.connection, given_.provider) : api, each);
    if (!named) {
      throw mistake(
          "the connection is missing: give --connection and --provider, or set NANGO_CONNECTION_ID and "
          "NANGO_PROVIDER_CONFIG_KEY");
    }
    const auto connection = hosted::connection(api, given_.connection, given_.provider);
    if (records_->parsed()) return show_records(connection, each);
    const auto data = given_.data.empty() ? json() : json::parse(given_.data, nullptr, false);
    if (data.is_discarded()) throw mistake("--data must be JSON");
    if (action_->parsed()) {
      return show_json(waited([&] { return hosted::trigger_action(connection, given_.action, data, each); }));
    }
    const auto upstream = hosted::upstream(connection);
    const auto parameters = parse_query(given_.query);
    auto answer = waited([&] {
      if (given_.data.empty()) return upstream.request(given_.method, given_.path, parameters, each);
      return upstream.request_json(given_.method, given_.path, data, parameters, each);
    });
    return show_json(std::move(answer).transform([](nango::response&& r) { return std::move(r.result); }));
  }
  int show_records(const nango::client& connection, const nango::call_options& each) const {
    json all = json::array();
    const auto progress = waited([&] {
      return hosted::for_each_record(
          connection, given_.model, [&](json&& record) { all.push_back(std::move(record)); }, {.cursor = given_.cursor},
          each);
    });
    return show_json(progress.failure ? nango::result<json>(*progress.failure) : std::move(all));
  }

  int call_crm(const nango::client& user, const nango::call_options& each) {
    if (get_->parsed()) return get(user, each);
    const bool raw = given_.include_raw, one = !given_.id.empty();
    if (one && !(given_.name.empty() && given_.emails.empty() && given_.accounts.empty())) {
      throw mistake("an id is of one record, and needs no --name, --email or --account");
    }
    if (contacts_->parsed()) {
      if (one) return show_one(waited([&] { return crm::get_contact(user, given_.id, raw, each); }));
      const crm::contact_query which{given_.emails, given_.accounts, given_.name, raw};
      return show_all(waited([&] { return crm::list_contacts(user, which, each); }));
    }
    if (accounts_->parsed()) {
      if (one) return show_one(waited([&] { return crm::get_account(user, given_.id, raw, each); }));
      return show_all(waited([&] { return crm::list_accounts(user, {given_.name, raw}, each); }));
    }
    if (one) return show_one(waited([&] { return crm::get_opportunity(user, given_.id, raw, each); }));
    return show_all(waited([&] { return crm::list_opportunities(user, {given_.name, raw}, each); }));
  }

  static int report(const nango::error& e) {
    std::cerr << "nango_cli: " << harmless(e.message, false) << " (" << to_string(e.code) << ")\n";
    if (e.retry_after) std::cerr << "nango_cli: try again in " << e.retry_after->count() << " ms\n";
    return exit_code_of(e);
  }
  template <class Value, class Print> static int show(const nango::result<Value>& got, const Print& print_value) {
    if (!got) return report(got.error());
    print_value(std::cout, *got);
    if (std::cout.flush()) return 0;
    std::cerr << "nango_cli: the output could not be written\n";
    return 1;
  }
  template <class Record> int show_one(const nango::result<Record>& got) const {
    return show(got,
                [this](std::ostream& out, const Record& record) { print(out, as(), std::vector{record}, record); });
  }
  template <class Record> int show_all(const nango::result<std::vector<Record>>& got) const {
    return show(got, [this](std::ostream& out, const auto& records) { print(out, as(), records, records); });
  }
  format as() const {
    if (given_.as_csv) return format::csv;
    return given_.as_table || (!given_.as_json && is_terminal(stdout)) ? format::table : format::json_text;
  }

  arguments given_{};
  CLI::App *get_ = nullptr, *contacts_ = nullptr, *accounts_ = nullptr, *opportunities_ = nullptr;
  CLI::App *connections_ = nullptr, *records_ = nullptr, *proxy_ = nullptr, *action_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  // Only for wcwidth; the format of numbers does not change.
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) std::setlocale(LC_CTYPE, "");
  on_interrupt(on_signal);
  return program().run(argc, argv);
}
