// A client of the hosted API over a script and the manual clock. What the tests of its section have in common.
#ifndef NANGO_TESTS_HOSTED_CLIENT_HPP
#define NANGO_TESTS_HOSTED_CLIENT_HPP

#include <functional>
#include <optional>

#include "manual_clock.hpp"
#include "nango.hpp"
#include "scripted_backend.hpp"

namespace nango_test {

using hosted_client = nango::basic_client<scripted_backend, nango::basic_sliding_window<manual_clock>>;

/// The clock runs by itself: no wait takes real time.
struct hosted_fixture {
  explicit hosted_fixture(const std::function<void(nango::client_options&)>& change = {}) {
    manual_clock::reset();
    manual_clock::run_by_itself();
    auto options = nango::hosted::options("9a2f1c3e-5b7d-4e8f-a1b2-c3d4e5f60718");
    if (change) change(options);
    api.emplace(options, backend);
    link.emplace(nango::hosted::connection(*api, "c-1", "crm"));
  }
  scripted_backend backend{};
  std::optional<hosted_client> api{}, link{};
};

}  // namespace nango_test

#endif
