// HTTP seam: cancellation, what counts as a backend, and any_backend, which stands for each of them.
#include "nango.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <concepts>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "scripted_backend.hpp"

namespace http_seam_tests {

using nango::any_backend;
using nango::cancel_source;
using nango::cancel_token;
using nango::errc;
using nango::error;
using nango::http_backend;
using nango::http_request;
using nango::http_response;
using nango::result;
using nango_test::scripted_backend;

namespace {

using answer = result<http_response>;

/// A function to make backends of, and a callable that has no copy.
answer say_200(const http_request&) { return http_response{.status = 200}; }

struct counting {
  std::unique_ptr<int> calls = std::make_unique<int>(0);
  answer operator()(const http_request&) { return http_response{.status = ++*calls}; }
};

int status_of(any_backend& backend) { return backend.send({}).value().status; }

}  // namespace

// ---- Cancellation --------------------------------------------------------------------------------------------------

static_assert(std::copyable<cancel_token> && std::is_nothrow_move_constructible_v<cancel_token>);
static_assert(std::copyable<cancel_source> && std::default_initializable<cancel_source>);
static_assert(noexcept(std::declval<const cancel_token&>().canceled()));

namespace {

const cancel_source interrupted;  // made before the handler is
extern "C" void interrupt(int) { interrupted.cancel(); }

}  // namespace

TEST_CASE("the handler of a signal may cancel") {
  const auto token = interrupted.token();
  auto* const usual = std::signal(SIGTERM, interrupt);
  CHECK_FALSE(token.canceled());
  CHECK(std::raise(SIGTERM) == 0);
  CHECK(token.canceled());
  std::signal(SIGTERM, usual);
}

TEST_CASE("a token of its own never says that a call was canceled") {
  const cancel_token token;
  CHECK_FALSE(token.canceled());
  CHECK_FALSE(cancel_token(token).canceled());
}

TEST_CASE("a token says whether there is a source that could cancel it") {
  CHECK_FALSE(cancel_token().cancelable());
  const auto of_source = cancel_source().token();
  CHECK(of_source.cancelable());
  CHECK_FALSE(of_source.canceled());
}

TEST_CASE("a source cancels all its tokens, those given before and those given after") {
  cancel_source source;
  const cancel_token before = source.token();
  const cancel_token copy = before;
  CHECK_FALSE(before.canceled());
  source.cancel();
  CHECK(before.canceled());
  CHECK(copy.canceled());
  CHECK(source.token().canceled());
  CHECK(cancel_token(source.token()).canceled());
}

TEST_CASE("canceling twice is canceling") {
  const cancel_source source;
  source.cancel();
  source.cancel();
  CHECK(source.token().canceled());
}

TEST_CASE("copies of a source are one source") {
  const cancel_source one;
  const cancel_source other = one;
  const auto of_one = one.token(), of_other = other.token();
  other.cancel();
  CHECK(of_one.canceled());
  CHECK(of_other.canceled());
}

TEST_CASE("sources do not cancel each other's tokens") {
  const cancel_source one, other;
  one.cancel();
  CHECK_FALSE(other.token().canceled());
}

TEST_CASE("a token outlives its source, with what that said last") {
  auto canceled = std::make_unique<cancel_source>(), silent = std::make_unique<cancel_source>();
  const auto token = canceled->token(), other = silent->token();
  canceled->cancel();
  canceled.reset();
  silent.reset();
  CHECK(token.canceled());
  CHECK_FALSE(other.canceled());
}

TEST_CASE("a token takes another's place") {
  const cancel_source canceled, silent;
  canceled.cancel();
  cancel_token token = silent.token();
  token = canceled.token();
  CHECK(token.canceled());
  token = {};
  CHECK_FALSE(token.canceled());
}

TEST_CASE("a cancellation is seen by a thread that was running before it") {
  const cancel_source source;
  std::string written;  // by the canceling thread, and read after the token was seen: the token orders the two
  std::thread canceling([&written, source] {
    written = "before";
    source.cancel();
  });
  for (const auto token = source.token(); !token.canceled();) std::this_thread::yield();
  CHECK(written == "before");
  canceling.join();
}

// ---- Requests and answers ------------------------------------------------------------------------------------------

static_assert(std::is_aggregate_v<http_request> && std::is_aggregate_v<http_response>);
static_assert(std::is_aggregate_v<nango::header> && std::is_same_v<nango::headers, std::vector<nango::header>>);

TEST_CASE("a request and an answer start out empty") {
  const http_request request;
  CHECK(request.method.empty());
  CHECK(request.url.empty());
  CHECK(request.headers.empty());
  CHECK(request.body.empty());
  CHECK(request.deadline == std::chrono::steady_clock::time_point());
  CHECK(request.max_response_bytes == 0);
  CHECK_FALSE(request.cancel.canceled());
  const http_response response;
  CHECK(response.status == 0);
  CHECK(response.headers.empty());
  CHECK(response.body.empty());
}

// ---- What is a backend ---------------------------------------------------------------------------------------------

namespace {

template <class Answer, class Request = const http_request&> struct sends {
  Answer send(Request);
};
struct constant_sender {
  answer send(const http_request&) const;
};
struct generic_sender {
  answer send(const auto&);
};
struct static_sender {
  static answer send(const http_request&);
};
struct secret_sender {
 private:
  [[maybe_unused]] answer send(const http_request&);
};
struct rvalue_sender {
  answer send(const http_request&) &&;
};
struct silent {};
struct named_otherwise {
  answer perform(const http_request&);
};

}  // namespace

static_assert(http_backend<sends<answer>> && http_backend<sends<answer, http_request>>);
static_assert(http_backend<constant_sender> && http_backend<generic_sender> && http_backend<static_sender>);
static_assert(http_backend<const constant_sender>);
static_assert(http_backend<any_backend> && http_backend<scripted_backend>);

// The answer has to be the very result, not something that could be made one or is one only on the surface.
static_assert(!http_backend<sends<http_response>> && !http_backend<sends<std::optional<http_response>>>);
static_assert(!http_backend<sends<error>> && !http_backend<sends<bool>> && !http_backend<sends<void>>);
static_assert(!http_backend<sends<result<nango::response>>> && !http_backend<sends<answer&>>);
static_assert(!http_backend<sends<const answer>> && !http_backend<sends<any_backend>>);
// It has to take a constant request, as a member that can be called.
static_assert(!http_backend<sends<answer, http_request&>> && !http_backend<sends<answer, http_request&&>>);
static_assert(!http_backend<sends<answer, std::string>>);
static_assert(!http_backend<secret_sender> && !http_backend<rvalue_sender> && !http_backend<const sends<answer>>);
static_assert(!http_backend<silent> && !http_backend<named_otherwise> && !http_backend<int>);
static_assert(!http_backend<counting> && !http_backend<std::shared_ptr<scripted_backend>>, "but any_backend takes it");

// ---- any_backend: from what ----------------------------------------------------------------------------------------

namespace {

template <class From> constexpr bool accepted = std::is_convertible_v<From, any_backend>;
template <class From> constexpr bool refused = !std::is_constructible_v<any_backend, From>;

template <class Signature> using function = std::function<Signature>;

}  // namespace

static_assert(std::copyable<any_backend> && std::is_nothrow_destructible_v<any_backend>);
static_assert(accepted<decltype(&say_200)> && accepted<decltype(say_200)&> && accepted<counting>);
static_assert(accepted<function<answer(const http_request&)>> && accepted<function<answer(http_request)>>);
static_assert(accepted<function<http_response(const http_request&)>>, "a backend that never fails");
static_assert(accepted<std::shared_ptr<scripted_backend>> && accepted<const std::shared_ptr<scripted_backend>&>);
static_assert(accepted<std::shared_ptr<any_backend>>);

static_assert(refused<function<answer()>> && refused<function<answer(http_request&)>>);
static_assert(refused<function<int(const http_request&)>> && refused<function<std::string(const http_request&)>>);
static_assert(refused<function<result<nango::response>(const http_request&)>>);
static_assert(refused<int> && refused<std::string> && refused<silent>);
static_assert(refused<std::shared_ptr<int>> && refused<std::shared_ptr<counting>>);

TEST_CASE("a lambda becomes a backend without a cast") {
  const auto take = [](any_backend backend) { return status_of(backend); };
  CHECK(take([](const http_request&) -> answer { return http_response{.status = 204}; }) == 204);
  CHECK(take(say_200) == 200);
  CHECK(take(&say_200) == 200);
  CHECK(take([](const http_request&) { return http_response{.status = 404}; }) == 404);
}

TEST_CASE("a callable that cannot be copied becomes a backend") {
  any_backend backend = counting();
  CHECK(status_of(backend) == 1);
  any_backend lambda = [status = std::make_unique<int>(202)](const http_request&) -> answer {
    return http_response{.status = *status};
  };
  CHECK(status_of(lambda) == 202);
}

TEST_CASE("a callable that cannot be copied is taken only where it is given away") {
  CHECK(refused<counting&>);
  CHECK(refused<const counting&>);
}

TEST_CASE("a callable keeps its state from call to call, and copies of the backend share it") {
  any_backend backend = [calls = 0](const http_request&) mutable -> answer { return http_response{.status = ++calls}; };
  CHECK(status_of(backend) == 1);
  any_backend copy = backend;  // of an lvalue that is not const: it is copied, not wrapped
  CHECK(status_of(copy) == 2);
  CHECK(status_of(backend) == 3);
  any_backend moved = std::move(backend);
  CHECK(status_of(moved) == 4);
}

TEST_CASE("a callable that is an lvalue is copied, not referred to") {
  auto callable = [calls = 0](const http_request&) mutable -> answer { return http_response{.status = ++calls}; };
  any_backend backend = callable;
  CHECK(status_of(backend) == 1);
  CHECK(status_of(backend) == 2);
  CHECK(callable({}).value().status == 1);
}

TEST_CASE("a shared pointer to a backend shares it") {
  const auto shared = std::make_shared<scripted_backend>();
  shared->answer(201, "one").answer(202, "two");
  any_backend backend = shared;
  any_backend other = shared;
  CHECK(status_of(backend) == 201);
  CHECK(other.send({}).value().body == "two");
  CHECK(shared->calls() == 2);
}

TEST_CASE("a shared pointer keeps its backend alive") {
  auto shared = std::make_shared<scripted_backend>();
  const std::weak_ptr<scripted_backend> watched = shared;
  shared->answer(200, "");
  {
    any_backend backend = std::move(shared);
    CHECK_FALSE(watched.expired());
    CHECK(status_of(backend) == 200);
  }
  CHECK(watched.expired());
}

TEST_CASE("a null pointer makes a backend that refuses each request, which was not sent") {
  any_backend backend = std::shared_ptr<scripted_backend>();
  for (int call = 0; call < 2; ++call) {
    const answer got = backend.send({});
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code == errc::invalid_argument);
    CHECK(got.error().message.find("null") != std::string::npos);
    CHECK_FALSE(got.error().may_have_executed);
  }
}

// ---- any_backend: what it hands on ---------------------------------------------------------------------------------

TEST_CASE("the very request reaches the backend, and the very answer comes back") {
  const http_request request{.method = "GET", .url = "https://api.example.com/v1/x", .max_response_bytes = 5};
  const std::string body(1000, 'b');
  const char* where = nullptr;
  const http_request* seen = nullptr;
  any_backend backend = [&](const http_request& r) -> answer {
    seen = &r;
    http_response response{.status = 299, .headers = {{"X-One", "1"}}, .body = body};
    where = response.body.data();
    return response;
  };
  const answer got = backend.send(request);
  CHECK(seen == &request);
  CHECK(got->status == 299);
  CHECK(got->headers.at(0).value == "1");
  CHECK(got->body == body);
  CHECK(got->body.data() == where);
}

TEST_CASE("an error of the backend comes back as it is") {
  any_backend backend = [](const http_request&) -> answer {
    return error{.code = errc::tls_failed, .message = "the certificate ran out", .may_have_executed = false};
  };
  const answer got = backend.send({});
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().code == errc::tls_failed);
  CHECK(got.error().message == "the certificate ran out");
  CHECK_FALSE(got.error().may_have_executed);
}

TEST_CASE("a client over any_backend calls through it, with the call's cancellation") {
  const cancel_source source;
  bool canceled_before = true, canceled_after = false;
  nango::basic_client<any_backend, nango::unlimited> api(
      nango_test::test_options(), [&](const http_request& request) -> answer {
        canceled_before = request.cancel.canceled();
        source.cancel();
        canceled_after = request.cancel.canceled();
        return http_response{.status = 200, .body = R"({"status":"ok","result":5})"};
      });
  CHECK(api.get("x", {}, {.cancel = source.token()}).value() == 5);
  CHECK_FALSE(canceled_before);
  CHECK(canceled_after);
}

TEST_CASE("a cancel_source that was moved from is still a copy of the same source") {
  nango::cancel_source first;
  const auto second = std::move(first);
  first.cancel();  // NOLINT(bugprone-use-after-move): what this case is about
  CHECK(second.token().canceled());
}

}  // namespace http_seam_tests
