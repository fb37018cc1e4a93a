// The other side of wire.cpp: HAProxy for small answers, nginx for large ones, both over TLS on loopback.
#ifndef NANGO_TESTS_WIRE_SERVERS_HPP
#define NANGO_TESTS_WIRE_SERVERS_HPP

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "canned.hpp"
#include "certificates.hpp"
#include "child.hpp"
#include "nango.hpp"

namespace nango_bench {

using nango_test::child;
using nango_test::temporary_file;
using nango_test::temporary_folder;

/// One certificate for both servers, and whom to trust for it.
struct identities {
  nango_test::certificate authority = nango_test::make_authority();
  nango_test::certificate server{{}, authority};
  temporary_file ca_file{authority.pem()};
  temporary_file server_file{server.pem() + server.key_pem()};
};

/// Where a server is. The calls to it carry a key and a user, as the API wants them.
struct place {
  int port;
  std::string ca_file;
};

/// Returns once the server answers.
inline void wait_for(child& server, const place& at, const char* what) {
  const nango::client probe({.api_key = "key",
                             .base_url = "https://127.0.0.1:" + std::to_string(at.port),
                             .timeout = std::chrono::seconds(1),
                             .retry = {.max_attempts = 1},
                             .ca_file = at.ca_file});
  while (!probe.get("v1/ready")) {
    if (!server.running()) throw std::runtime_error(std::string(what) + " has ended: " + server.output());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

/// HAProxy as wire_haproxy.cfg, in WIRE_FOLDER, describes it.
class small_answers {
 public:
  explicit small_answers(const identities& who) : at{socket_.port(), who.ca_file.path()} {
    haproxy_ = std::make_unique<child>(
        std::vector<std::string>{"haproxy", "-db", "-C", WIRE_FOLDER, "-f", "wire_haproxy.cfg"},
        std::vector<std::string>{"CERTIFICATE=" + who.server_file.path(), "ENVELOPE=" + envelope_.path()},
        socket_.fd());
    wait_for(*haproxy_, at, "haproxy");
  }

 private:
  temporary_file envelope_{canned_envelope};
  nango_test::loopback_socket socket_{};
  std::unique_ptr<child> haproxy_{};

 public:
  place at;
};

/// A list of contacts of at least that size, as an envelope.
inline std::string list_of(std::size_t bytes) {
  std::string text = R"({"status":"ok","result":[)";
  for (int i = 0; text.size() < bytes; ++i) {
    const auto n = std::to_string(i), n2 = std::to_string(i * 2654435761U);
    text += (i != 0 ? "," : "") + (R"({"id":")" + n2) + R"(-bf22-42e6-aa31-b75cd41749ab","name":"Contact )" + n +
            R"(","emails":[{"address":"contact.)" + n + R"(@example.com","type":"work"}],"company":null,"score":0.)" +
            n2 + R"(,"archived":false})";
  }
  return text + "]}";
}

/// nginx: /v1/list is 10 MB, compressed where the client likes that; so is /v1/limited, with 5 MB a second. Below
/// /v1/files/ is what add() put there. The rest is the small envelope.
class large_answers {
 public:
  explicit large_answers(const identities& who) : at{nango_test::free_port(), who.ca_file.path()} {
    std::filesystem::create_directory(folder_.path() + "/files");
    write("list", list_of(10'000'000));
    write("nginx.conf", configuration(who.server_file.path()));
    nginx_ = std::make_unique<child>(
        std::vector<std::string>{"nginx", "-p", folder_.path(), "-e", "stderr", "-c", folder_.path() + "/nginx.conf"});
    wait_for(*nginx_, at, "nginx");
  }

  void add(const std::string& name, std::string_view content) { write("files/" + name, content); }

 private:
  void write(const std::string& name, std::string_view content) {
    std::ofstream(folder_.path() + '/' + name) << content;
  }

  std::string configuration(const std::string& server_file) const {
    return R"(
daemon off; master_process off; pid pid; error_log stderr;
events { worker_connections 256; }
http {
  access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 60s; keepalive_requests 1000000000;
  client_max_body_size 16m; default_type application/json; gzip_types application/json; gzip_proxied any;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 127.0.0.1:)" +
           std::to_string(at.port) + " ssl; ssl_certificate " + server_file + "; ssl_certificate_key " + server_file +
           R"(;
    location = /v1/list { alias list; }
    location = /v1/limited { alias list; gzip on; limit_rate 5m; }
    location /v1/files/ { alias files/; }
    location / { return 200 ')" +
           std::string(canned_envelope) + R"('; }
  }
}
)";
  }

  temporary_folder folder_{};
  std::unique_ptr<child> nginx_{};

 public:
  place at;
};

}  // namespace nango_bench

#endif
