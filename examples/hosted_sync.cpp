// Copies a model's records from the hosted API into SQLite. After a kill it resumes where it was, because one
// transaction holds the records of a batch and the cursor after them.
//
//   hosted_sync DATABASE [MODEL]        # Ticket
//
// NANGO_API_KEY, NANGO_CONNECTION_ID and NANGO_PROVIDER_CONFIG_KEY say whose records to copy; NANGO_BASE_URL and
// NANGO_CA_FILE name another server than Nango's. Without a key it copies from a local server of the API that it
// starts.

#include <sqlite3.h>
#include <unistd.h>

#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "local_nango.hpp"
#include "nango.hpp"

namespace {

namespace hosted = nango::hosted;
using nango::json;

// One connection to a database. A failure throws std::runtime_error with SQLite's message.
class database {
 public:
  explicit database(const std::string& path) {
    sqlite3* opened = nullptr;
    const int code = sqlite3_open(path.c_str(), &opened);
    db_.reset(opened);
    require(code == SQLITE_OK);
    sqlite3_busy_timeout(db_.get(), 10'000);
    run("CREATE TABLE IF NOT EXISTS record (model TEXT, id TEXT, data TEXT, PRIMARY KEY (model, id))");
    run("CREATE TABLE IF NOT EXISTS progress (model TEXT PRIMARY KEY, cursor TEXT)");
    put_ = prepare("INSERT INTO record VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET data = ?3");
    move_ = prepare("INSERT INTO progress VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cursor = ?2");
    find_ = prepare("SELECT cursor FROM progress WHERE model = ?1");
  }

  void run(const char* statement) {
    require(sqlite3_exec(db_.get(), statement, nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  void put(const std::string& model, const std::string& id, const std::string& data) {
    step(put_, {&model, &id, &data});
  }
  void set_cursor(const std::string& model, const std::string& cursor) { step(move_, {&model, &cursor}); }
  std::string cursor(const std::string& model) {
    bind(find_, {&model});
    const bool found = sqlite3_step(find_.get()) == SQLITE_ROW;
    return found ? reinterpret_cast<const char*>(sqlite3_column_text(find_.get(), 0)) : "";
  }

 private:
  struct closer {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using statement = std::unique_ptr<sqlite3_stmt, closer>;

  void require(bool good) const {
    if (!good) throw std::runtime_error(std::string("SQLite: ") + (db_ ? sqlite3_errmsg(db_.get()) : "no memory"));
  }
  statement prepare(const char* text) {
    sqlite3_stmt* made = nullptr;
    require(sqlite3_prepare_v2(db_.get(), text, -1, &made, nullptr) == SQLITE_OK);
    return statement(made);
  }
  void bind(const statement& to, std::initializer_list<const std::string*> values) {
    sqlite3_reset(to.get());
    int number = 0;
    for (const auto* value : values) {
      const auto size = static_cast<sqlite3_uint64>(value->size());
      require(sqlite3_bind_text64(to.get(), ++number, value->data(), size, SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK);
    }
  }
  void step(const statement& what, std::initializer_list<const std::string*> values) {
    bind(what, values);
    require(sqlite3_step(what.get()) == SQLITE_DONE);
    sqlite3_reset(what.get());
  }

  std::unique_ptr<sqlite3, closer> db_{};  // declared first, so that it outlives its statements
  statement put_{}, move_{}, find_{};
};

// [sync]
// Each record has its own cursor, which resumes after it, so a batch may end anywhere.
hosted::record_progress copy_records(const nango::client& connection, const std::string& model, database& to) {
  constexpr std::size_t batch = 1'000;
  std::size_t copied = 0;
  to.run("BEGIN");
  const auto store = [&](json&& record) {
    to.put(model, record.at("id").get<std::string>(), record.dump());
    if (++copied % batch != 0) return;
    to.set_cursor(model, record.at("_nango_metadata").at("cursor").get<std::string>());
    to.run("COMMIT; BEGIN");
    if (::isatty(STDERR_FILENO) == 1) std::cerr << '\r' << copied << " records" << std::flush;
  };
  auto progress = hosted::for_each_record(connection, model, store, {.cursor = to.cursor(model), .limit = batch});
  to.set_cursor(model, progress.cursor);  // of the last record, also after a failure
  to.run("COMMIT");
  return progress;
}
// [end]

int run(const std::string& path, const std::string& model) {
  auto options = hosted::options(nango::env("NANGO_API_KEY"), {.requests = 2'000, .per = std::chrono::minutes(1)});
  auto connection_id = nango::env("NANGO_CONNECTION_ID"), provider = nango::env("NANGO_PROVIDER_CONFIG_KEY");
  std::optional<nango_test::local_nango> server;
  if (options.api_key.empty()) {
    server.emplace(nango_test::local_nango_options{.hosted = {.records = 2'500}});
    options = hosted::options(server->api_key());
    options.base_url = server->hosted_url();
    options.ca_file = server->ca_file();
    connection_id = nango_test::hosted_routes::connection_id;
    provider = nango_test::hosted_routes::provider_config_key;
    std::cout << "NANGO_API_KEY is not set: copying from a local server of the API\n";
  } else {
    if (const auto url = nango::env("NANGO_BASE_URL"); !url.empty()) options.base_url = url;
    options.ca_file = nango::env("NANGO_CA_FILE");
  }
  const nango::client api(options);
  database to(path);
  const auto progress = copy_records(hosted::connection(api, connection_id, provider), model, to);
  if (::isatty(STDERR_FILENO) == 1) std::cerr << "\r\x1b[K";
  std::cout << progress.count << " records copied" << (progress.done ? "" : ", and there are more") << '\n';
  if (progress.failure) std::cerr << *progress.failure << '\n';
  return progress.failure ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: hosted_sync DATABASE [MODEL]\n";
    return 2;
  }
  try {
    return run(argv[1], argc == 3 ? argv[2] : "Ticket");
  } catch (const std::exception& e) {  // from the database, or a record without an id
    std::cerr << e.what() << '\n';
    return 1;
  }
}
