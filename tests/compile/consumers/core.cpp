// One call with a backend of the program's own.
#include "nango.hpp"

#include <iostream>

int main() {
  const auto backend = [](const nango::http_request&) -> nango::result<nango::http_response> {
    return nango::http_response{200, {}, R"({"status": "ok", "result": "an answer"})"};
  };
  const nango::basic_client<nango::any_backend> api{{.api_key = "key"}, backend};
  std::cout << "nango.hpp " NANGO_VERSION " with its own backend: " << api.user("token").get("crm/contacts").value()
            << '\n';
}
