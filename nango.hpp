// SPDX-License-Identifier: MIT
// Copyright (c) 2026 the nango.hpp authors

/// @file
/// A C++20 client for the Nango API in one header.
///
///     nango::client api{{.api_key = nango::env("NANGO_API_KEY")}};
///     auto contacts = api.user(user_token).get("crm/contacts", {{"name", "Rolf"}});
///     if (!contacts) std::cerr << contacts.error() << '\n';
///
/// A call flows one way: Client (checks, URL, headers) -> Rate limiter (one permit for each attempt) -> HTTP seam
/// (a backend sends) -> Envelope (the answer becomes a result) -> Retries (again from the limiter, or out).
/// The sections come bottom up, first as public declarations, then as `detail`, then as definitions: Errors, HTTP seam,
/// Rate limiter, Paths and queries, Envelope, Retries, Client, Default backend; and, made of these and unknown to them,
/// CRM resources and Hosted API, whose function templates are declared and documented where they are defined.
///
/// Needs nlohmann/json, and cpp-httplib with TLS unless NANGO_NO_HTTPLIB is defined.

#ifndef NANGO_HPP
#define NANGO_HPP

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) <= 201703L
#error "nango.hpp needs C++20: compile with -std=c++20 (MSVC: /std:c++20; CMake: cxx_std_20)"
#else

/// @{ The version of this header: numbers for `#if`, and a string.
#define NANGO_VERSION_MAJOR 0
#define NANGO_VERSION_MINOR 2
#define NANGO_VERSION_PATCH 0
#define NANGO_VERSION "0.2.0"
/// @}

#include <algorithm>           // min, max, clamp, all_of, upper_bound
#include <array>               // tables, the limiter's shards
#include <atomic>              // cancellation, the jitter's state
#include <charconv>            // integers in queries, Retry-After and ports, without a locale
#include <chrono>              // deadlines, rates, HTTP dates
#include <cmath>               // isfinite, floor, ldexp
#include <concepts>            // the seams are concepts
#include <condition_variable>  // the one way to wait
#include <cstddef>             // size_t
#include <cstdint>             // uint64_t
#include <cstdio>              // sscanf reads HTTP dates, snprintf writes times, fputs last words
#include <cstdlib>             // getenv, abort
#include <exception>           // exceptions thrown by other code
#include <functional>          // client_options::on_attempt, any_backend
#include <limits>              // arithmetic that does not overflow
#include <memory>              // shared state of handles
#include <mutex>               // the limiter's and the backend's state
#include <new>                 // out of memory
#include <optional>            // values that may be missing
#include <ostream>             // error is printable
#include <queue>               // slots of the limiter, the next one first
#include <span>                // http_request::headers
#include <stdexcept>           // exception is a runtime_error
#include <string>              // owned text
#include <string_view>         // borrowed text
#include <system_error>        // errc is an error_code
#include <type_traits>         // constraints of result
#include <unordered_map>       // the limiter's keys
#include <utility>             // move, forward
#include <vector>              // headers, queries

// Quotes, not angle brackets: a copy beside this header takes precedence over an installed one.
#include "nlohmann/json.hpp"   // every result is JSON

#ifndef _WIN32
#include <pthread.h>  // a child of fork() gets a state of its own
#include <unistd.h>   // close, getpid
#endif

#ifdef _MSC_VER
#pragma warning(push)
#pragma warning(disable : 4996)  // deprecation of getenv and sscanf
#endif

// NANGO_DETAIL_HTTPLIB means that the default backend can be compiled. Its declarations do not depend on this macro, so
// a missing httplib causes one error and not a hundred more.
#ifdef NANGO_NO_HTTPLIB  // the program brings a backend of its own
#elif !defined(CPPHTTPLIB_OPENSSL_SUPPORT) || (defined(CPPHTTPLIB_HTTPLIB_H) && !defined(OPENSSL_SSL_H))
#error \
    "nango.hpp: cpp-httplib has no TLS by OpenSSL 3 here. Define CPPHTTPLIB_OPENSSL_SUPPORT for the whole program (and \
link ssl and crypto), or define NANGO_NO_HTTPLIB and bring a backend of your own."
#else
#define NANGO_DETAIL_HTTPLIB
#include "httplib.h"         // the codec; in quotes for the same reason
#include <openssl/bio.h>     // TLS over this header's sockets
#include <openssl/crypto.h>  // webhooks are compared in constant time
#include <openssl/err.h>     // the thread's error queue is left clean
#include <openssl/hmac.h>    // webhooks are signed
#include <openssl/ssl.h>     // TLS, host pinning
#include <openssl/x509v3.h>  // host flags
#ifdef _WIN32                // httplib has included Winsock
#include <wincrypt.h>        // the system's authorities
#else
#include <errno.h>        // why a system call failed
#include <fcntl.h>        // sockets that do not block
#include <netdb.h>        // names become addresses
#include <netinet/in.h>   // IPPROTO_TCP
#include <netinet/tcp.h>  // TCP_NODELAY, keepalive, TCP_INFO
#include <poll.h>         // the one way to wait
#include <sys/socket.h>   // sockets
#endif
#endif

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define NANGO_DETAIL_EXCEPTIONS
#endif

// With this attribute clang warns about references into a destroyed result.
#if defined(__clang__)
#define NANGO_DETAIL_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define NANGO_DETAIL_LIFETIMEBOUND
#endif

// Marks a class that may be caught in another shared object than the one that throws it, even with -fvisibility=hidden.
#if defined(__GNUC__) && !defined(_WIN32)
#define NANGO_DETAIL_VISIBLE __attribute__((visibility("default")))
#else
#define NANGO_DETAIL_VISIBLE
#endif

// Builds with and without JSON_DIAGNOSTICS (the class layout differs), or with and without exceptions (the same
// functions contain different code), get different namespaces, so they can coexist in one process.
#if defined(JSON_DIAGNOSTICS) && JSON_DIAGNOSTICS && defined(NANGO_DETAIL_EXCEPTIONS)
#define NANGO_DETAIL_VERSION v0_2_diag
#elif defined(JSON_DIAGNOSTICS) && JSON_DIAGNOSTICS
#define NANGO_DETAIL_VERSION v0_2_diag_noexcept
#elif defined(NANGO_DETAIL_EXCEPTIONS)
#define NANGO_DETAIL_VERSION v0_2
#else
#define NANGO_DETAIL_VERSION v0_2_noexcept
#endif

/// All names of this library. All functions may be called from many threads at once unless they say otherwise. Many
/// threads may read a value, such as a result or options, or one thread may change it. Functions throw the exceptions
/// that they name, and std::bad_alloc. "API basics" refers to the page of that name in the API's documentation.
namespace nango {
/// The version; two versions can coexist in one process.
inline namespace NANGO_DETAIL_VERSION {

/// The JSON type of every result and body.
using json = nlohmann::json;

/// Where requests go unless client_options::base_url says otherwise (API basics).
inline constexpr const char* default_base_url = "https://api.nango.dev/v1/";

/// One header field. Names compare case-insensitively.
struct header {
  std::string name{};   ///< A token.
  std::string value{};  ///< In requests: no control characters, no space at either end.
};
/// Header fields in order; a name may repeat.
using headers = std::vector<header>;

// --------------------------------------------------------------------------------------------------------------------
// Errors: what can go wrong, and `result`, which carries it
// --------------------------------------------------------------------------------------------------------------------

/// What went wrong. The numbers are fixed: the API's own error types start at 1, errors found by this client at 101.
enum class errc : int {
  params_error = 1,          ///< PARAMS_ERROR: the parameters are wrong (API basics: HTTP 400).
  processing_error = 2,      ///< PROCESSING_ERROR: the API failed to process the request (API basics: HTTP 500).
  auth_error = 3,            ///< AUTH_ERROR: missing or invalid API key or user token (API basics: HTTP 401).
  api_error = 4,             ///< An `error_type` that this version does not know; hosted: any other 4xx that says why.
  rate_limited = 5,          ///< HTTP 429, or the limiter's wait would exceed the deadline.
  unexpected_status = 6,     ///< Not 20x (200 to 299) and no envelope: a gateway's page, a redirect.
  invalid_argument = 101,    ///< The call is wrong; nothing was sent.
  malformed_response = 102,  ///< Body without an envelope or at odds with the status; unsound HTTP.
  decode_error = 103,        ///< The result does not have the requested type.
  response_too_large = 104,  ///< The body exceeds client_options::max_response_bytes.
  connection_failed = 105,   ///< Name lookup, connect, reset, or closed before the answer was complete.
  tls_failed = 106,          ///< No trusted certificate, the wrong host, or the handshake was refused.
  timed_out = 107,           ///< The deadline of the call or the attempt passed, in any phase.
  canceled = 108,            ///< The call's cancel_token was triggered.
};

}  // namespace NANGO_DETAIL_VERSION
}  // namespace nango

/// An errc converts to std::error_code implicitly.
template <> struct std::is_error_code_enum<nango::errc> : std::true_type {};  // before anything asks

namespace nango {
inline namespace NANGO_DETAIL_VERSION {

/// The API's spelling for the API's three types ("PARAMS_ERROR"), the enumerator's name for the others ("timed_out"),
/// and "unknown" for any other number. The text is static.
std::string_view to_string(errc code) noexcept;

/// Makes a std::error_code; the category's name is "nango". timed_out, invalid_argument and canceled equal the
/// std::errc conditions timed_out, invalid_argument and operation_canceled. connection_failed equals each of
/// connection_refused, connection_reset, connection_aborted, not_connected, host_unreachable and network_unreachable.
std::error_code make_error_code(errc code) noexcept;

/// True if the code is that errc, even if another shared object made it: categories are compared by name. (The standard
/// library compares addresses, so across shared objects two std::error_code, or a std::error_code and a
/// std::error_condition, are not equal.)
inline bool operator==(const std::error_code& code, errc e) noexcept {
  return code.value() == static_cast<int>(e) && std::string_view(code.category().name()) == "nango";
}

/// Prints to_string(code).
std::ostream& operator<<(std::ostream& out, errc code);

/// Everything known about a failed call. No field contains a secret of 8 characters or more, but what the server said
/// may be personal data.
struct error {
  errc code{};            ///< What went wrong; never 0 in an error of this library.
  int http_status = 0;    ///< The answer's status; 0 without an HTTP answer.
  std::string type{};     ///< error_type as the API spells it, on one line; empty if it sent none.
  std::string message{};  ///< error_msg, or what happened here: one line, never empty, never a secret.
  std::optional<std::chrono::milliseconds> retry_after{};  ///< The wait that the API or limiter asks for.
  int attempts = 0;                                        ///< Requests handed to the backend for this call.
  bool may_have_executed = true;  ///< False only if the API certainly did not act on the request, in any attempt.
  std::string body{};             ///< The first 16 KiB of the answer that caused this error; empty without an answer.
  std::string request{};          ///< "GET crm/contacts": method and path without query; empty if no call began.
  nango::headers headers{};       ///< Headers of the same answer: a request id, X-RateLimit-*.
};

/// Prints one line, such as `AUTH_ERROR (HTTP 401): the api key is unknown [GET crm/contacts]`; after several attempts
/// it ends with `[GET crm/contacts, 3 attempts]`.
std::ostream& operator<<(std::ostream& out, const error& e);

/// Thrown by result::value() and by the constructors of basic_client and httplib_backend, and by nothing else here. It
/// can be caught across shared objects; with libc++, a program that loads plugins needs -rdynamic for that.
class NANGO_DETAIL_VISIBLE exception : public std::runtime_error {
 public:
  /// Wraps an error; what() is the error's one line.
  explicit exception(nango::error e);
  /// The error. It lives as long as any copy of the exception.
  const nango::error& error() const noexcept NANGO_DETAIL_LIFETIMEBOUND { return *error_; }

 private:
  std::shared_ptr<const nango::error> error_;  // shared: copying an exception must not throw
};

template <class Value> class result;

namespace detail {  // forward declarations; the namespace itself is opened once, below
[[noreturn]] void raise(const error& e);
[[noreturn]] void no_value(const error& e);
struct nothing {};  // what a result<void> holds
template <class Value> inline constexpr bool is_result = false;
template <class Value> inline constexpr bool is_result<result<Value>> = true;
template <class T>
concept query_text = std::convertible_to<const T&, std::string_view> && !std::same_as<T, std::nullptr_t>;
template <class T, class... Types>
concept any_of = (std::same_as<T, Types> || ...);
template <class T>
concept query_integer = std::integral<T> && !any_of<T, bool, char, wchar_t, decltype(u8'a'), char16_t, char32_t>;
template <class Clock> class limiter;
struct limiter_place {  // of a permit; moving it leaves `shard` empty
  std::shared_ptr<struct limiter_shard> shard{};
  class limiter_window* window = nullptr;
};
struct handle;
template <class Backend, class Limiter> class client_core;
struct client_access;
class httplib_pool;
}  // namespace detail

/// A value or an error: the commonly used part of std::expected<Value, error>, under the same names. Where
/// std::expected is undefined (`*r` without a value), the program aborts. On rvalues `*`, value() and error() return by
/// value, so `for (auto& c : *api.get("x"))` does not dangle.
template <class Value> class [[nodiscard]] result {
  static_assert(!std::same_as<Value, nango::error> && !std::same_as<Value, errc>,
                "a result of an error cannot be told apart");
  static_assert(std::is_object_v<Value>, "result<T> holds objects; for a reference use a pointer");

 public:
  using value_type = Value;         ///< What a success holds.
  using error_type = nango::error;  ///< What a failure holds.

  /// A success. Explicit unless Other converts to Value implicitly.
  template <class Other = Value>
    requires(!std::same_as<std::remove_cvref_t<Other>, result> &&
             !std::same_as<std::remove_cvref_t<Other>, nango::error> &&
             !(std::same_as<std::remove_cv_t<Value>, bool> && detail::is_result<std::remove_cvref_t<Other>>) &&
             std::constructible_from<Value, Other>)
  explicit(!std::convertible_to<Other, Value>) result(Other&& value) {
    put(std::forward<Other>(value));
  }
  /// A failure.
  result(nango::error e) : error_(std::move(e)) {}
  result(errc) = delete;  ///< Would become a JSON number; return an error with a message.
  /// @{ Deleted: a result is not a range. Check it, then loop over its value.
  Value* begin() const = delete;  // check the result `r`, then write for (auto& x : *r)
  Value* end() const = delete;
  /// @}

  /// @{ Copies and moves like Value; a moved-from result holds a moved-from value. If moving a value throws, the target
  /// of the assignment has no value and keeps its previous error.
  result(const result& other)
    requires std::is_copy_constructible_v<Value>
  {
    other.has_value_ ? put(other.value_) : void(error_ = other.error_);
  }
  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<Value>)
    requires std::is_move_constructible_v<Value>
  {
    // (Moving an empty error would cost more than making one.)
    other.has_value_ ? put(std::move(other.value_)) : void(error_ = std::move(other.error_));
  }
  result& operator=(result other) noexcept(std::is_nothrow_move_constructible_v<Value>)
    requires std::is_move_constructible_v<Value>
  {
    drop();
    if (other.has_value_) put(std::move(other.value_));
    error_ = std::move(other.error_);
    return *this;
  }
  /// @}
  ~result() { drop(); }

  /// @{ True if there is a value.
  bool has_value() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value_; }
  /// @}

  /// @{ The value. Without one, the program calls std::abort after printing the error as one line to stderr.
  ///
  /// The target of `->` lives as long as the result. `for (auto& [k, v] : api.get("x")->items())` and
  /// `auto& first = api.get("x")->front();` use a destroyed result, and compilers do not warn. Name the result:
  /// `auto x = api.get("x"); for (auto& [k, v] : x->items())`.
  Value& operator*() & NANGO_DETAIL_LIFETIMEBOUND { return has_value_ ? value_ : (detail::no_value(error_), value_); }
  const Value& operator*() const& NANGO_DETAIL_LIFETIMEBOUND {
    return has_value_ ? value_ : (detail::no_value(error_), value_);
  }
  Value operator*() && { return std::move(**this); }
  Value* operator->() NANGO_DETAIL_LIFETIMEBOUND { return std::addressof(**this); }
  const Value* operator->() const NANGO_DETAIL_LIFETIMEBOUND { return std::addressof(**this); }
  /// @}

  /// @{ The value; throws nango::exception if there is none (with exceptions off it aborts like `*`).
  Value& value() & NANGO_DETAIL_LIFETIMEBOUND { return has_value_ ? value_ : (detail::raise(error_), value_); }
  const Value& value() const& NANGO_DETAIL_LIFETIMEBOUND {
    return has_value_ ? value_ : (detail::raise(error_), value_);
  }
  Value value() && { return std::move(value()); }
  /// @}

  /// @{ The value, or `other` if there is none.
  template <class Other> Value value_or(Other&& other) const& {
    return has_value_ ? value_ : static_cast<Value>(std::forward<Other>(other));
  }
  template <class Other> Value value_or(Other&& other) && {
    return has_value_ ? std::move(value_) : static_cast<Value>(std::forward<Other>(other));
  }
  /// @}

  /// @{ The error; an empty error if there is a value.
  nango::error& error() & noexcept NANGO_DETAIL_LIFETIMEBOUND { return error_; }
  const nango::error& error() const& noexcept NANGO_DETAIL_LIFETIMEBOUND { return error_; }
  nango::error error() && noexcept { return std::move(error_); }
  /// @}

  /// @{ Returns f(value), which must be a result; passes an error through.
  template <class Fn> auto and_then(Fn&& f) & { return then(*this, std::forward<Fn>(f)); }
  template <class Fn> auto and_then(Fn&& f) const& { return then(*this, std::forward<Fn>(f)); }
  template <class Fn> auto and_then(Fn&& f) && { return then(std::move(*this), std::forward<Fn>(f)); }
  /// @}
  /// @{ Returns f(value) wrapped in a result; passes an error through.
  template <class Fn> auto transform(Fn&& f) & { return map(*this, std::forward<Fn>(f)); }
  template <class Fn> auto transform(Fn&& f) const& { return map(*this, std::forward<Fn>(f)); }
  template <class Fn> auto transform(Fn&& f) && { return map(std::move(*this), std::forward<Fn>(f)); }
  /// @}
  /// @{ Returns f(error), which must be a result of the same type; passes a value through.
  template <class Fn> result or_else(Fn&& f) const& {
    return has_value_ ? *this : std::invoke(std::forward<Fn>(f), error_);
  }
  template <class Fn> result or_else(Fn&& f) && {
    return has_value_ ? std::move(*this) : std::invoke(std::forward<Fn>(f), std::move(error_));
  }
  /// @}

 private:
  template <class Self, class Fn> static auto then(Self&& self, Fn&& f) {
    using next = std::remove_cvref_t<decltype(std::invoke(std::forward<Fn>(f), std::forward<Self>(self).value_))>;
    if (!self.has_value_) return next(std::forward<Self>(self).error_);
    return std::invoke(std::forward<Fn>(f), std::forward<Self>(self).value_);
  }
  template <class Self, class Fn> static auto map(Self&& self, Fn&& f) {
    using mapped = std::remove_cv_t<decltype(std::invoke(std::forward<Fn>(f), std::forward<Self>(self).value_))>;
    if (!self.has_value_) return result<mapped>(std::forward<Self>(self).error_);
    if constexpr (std::is_void_v<mapped>) {
      return std::invoke(std::forward<Fn>(f), std::forward<Self>(self).value_), result<mapped>();
    } else {
      return result<mapped>(std::invoke(std::forward<Fn>(f), std::forward<Self>(self).value_));
    }
  }

  template <class Other> void put(Other&& value) {
    std::construct_at(std::addressof(value_), std::forward<Other>(value));
    has_value_ = true;
  }
  void drop() noexcept {
    if (std::exchange(has_value_, false)) std::destroy_at(std::addressof(value_));
  }

  union {
    Value value_;  // not std::optional: its 30 functions for each type make calling units compile longer
  };
  bool has_value_ = false;
  nango::error error_{};
};

/// Deleted: a result is not printable. Check it, then print its value or its error.
template <class Char, class Traits, class Value>
std::ostream& operator<<(std::basic_ostream<Char, Traits>&, const result<Value>&) = delete;  // print *r or r.error()

/// Success without a value, or an error.
template <> class [[nodiscard]] result<void> : result<detail::nothing> {
  using base = result<detail::nothing>;

 public:
  /// @{ As in `result<Value>`, but without a value: f takes no argument, and `*` does nothing.
  using value_type = void;
  using base::error_type, base::has_value, base::operator bool, base::error;

  result() noexcept : base(detail::nothing()) {}
  result(nango::error e) : base(std::move(e)) {}
  result(errc) = delete;

  void operator*() const noexcept {}
  void value() const { static_cast<void>(base::value()); }
  template <class Fn> auto and_then(Fn&& f) const {
    return base::and_then([&](auto) { return std::invoke(std::forward<Fn>(f)); });
  }
  template <class Fn> auto transform(Fn&& f) const {
    return base::transform([&](auto) -> decltype(auto) { return std::invoke(std::forward<Fn>(f)); });
  }
  template <class Fn> result or_else(Fn&& f) const {
    return has_value() ? *this : std::invoke(std::forward<Fn>(f), error());
  }
  /// @}
};

// --------------------------------------------------------------------------------------------------------------------
// HTTP seam: what a backend receives and returns
// --------------------------------------------------------------------------------------------------------------------

/// Tells whether a call was canceled. Cheap to copy. A default-constructed token never reports cancellation.
class cancel_token {
 public:
  /// A token without a source.
  cancel_token() = default;
  /// True once the source's cancel() has been called.
  bool canceled() const noexcept { return flag_ && flag_->load(std::memory_order_acquire); }
  /// False if the token has no cancel_source: canceled() can never become true.
  bool cancelable() const noexcept { return flag_ != nullptr; }

 private:
  friend class cancel_source;
  explicit cancel_token(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {}
  std::shared_ptr<const std::atomic<bool>> flag_{};
};

/// Cancels every call that uses one of its tokens; a wait or a transfer notices within 100 ms. Copies share one state.
class cancel_source {
 public:
  /// A new source.
  cancel_source() = default;
  /// @{ Moving copies, so a moved-from source stays usable.
  cancel_source(const cancel_source&) = default;
  cancel_source& operator=(const cancel_source&) = default;
  /// @}
  /// Cancels permanently. Async-signal-safe: a signal handler may call it on a source that already exists.
  void cancel() const noexcept { flag_->store(true, std::memory_order_release); }
  /// A token for call_options::cancel; it may outlive the source.
  cancel_token token() const { return cancel_token(flag_); }

 private:
  static_assert(std::atomic<bool>::is_always_lock_free, "cancel() has no lock, so that signal handlers may call it");
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

/// One request, checked and complete. The views live until `send` returns.
struct http_request {
  std::string_view method{};                         ///< A token in upper case, "GET".
  std::string_view url{};                            ///< Absolute and percent-encoded; sent byte for byte.
  std::span<const header> headers{};                 ///< Complete: a backend adds only what framing needs.
  std::string_view body{};                           ///< Sent as is; empty means no body.
  std::chrono::steady_clock::time_point deadline{};  ///< The send ends with timed_out at this time.
  std::size_t max_response_bytes = 0;                ///< Limit of the decompressed body; more is response_too_large.
  cancel_token cancel{};                             ///< Once triggered, the send ends with canceled.
};

/// One answer, whatever its status.
struct http_response {
  int status = 0;            ///< 100 to 599.
  nango::headers headers{};  ///< As they came.
  std::string body{};        ///< Decompressed if it was compressed.
};

/// Sends requests. A backend never retries, never follows a redirect, never interprets the body, and may be called by
/// many threads at once. Its errors are connection_failed, tls_failed, timed_out, canceled, response_too_large,
/// malformed_response or invalid_argument. They set may_have_executed to false only if the server cannot have acted on
/// any byte of the request.
template <class Backend>
concept http_backend = requires(Backend& backend, const http_request& request) {
  { backend.send(request) } -> std::same_as<result<http_response>>;
};

/// A type-erased backend. With it, most units of a program need no httplib (NANGO_NO_HTTPLIB).
struct any_backend {
  /// Wraps anything callable as result<http_response>(const http_request&); many threads may call it at once.
  template <class Fn>
    requires(!std::same_as<std::decay_t<Fn>, any_backend> && std::constructible_from<std::decay_t<Fn>, Fn> &&
             std::is_invocable_r_v<result<http_response>, std::decay_t<Fn>&, const http_request&>)
  any_backend(Fn&& f)
      : send_([shared = std::make_shared<std::decay_t<Fn>>(std::forward<Fn>(f))](const http_request& request) {
          return std::invoke(*shared, request);
        }) {}
  /// Shares a backend. With a null pointer, each send returns invalid_argument.
  template <http_backend Backend> any_backend(std::shared_ptr<Backend> backend) {
    if (backend) send_ = [shared = std::move(backend)](const http_request& request) { return shared->send(request); };
  }
  /// Forwards to the backend.
  result<http_response> send(const http_request& request);

 private:
  std::function<result<http_response>(const http_request&)> send_{};
};

// --------------------------------------------------------------------------------------------------------------------
// Rate limiter: the server never sees more than `requests` for one key in any span of `per`
// --------------------------------------------------------------------------------------------------------------------

/// How many requests per time span (API basics: 100 a second for each user token). Times over a year count as a year.
struct rate {
  std::size_t requests = 100;                                 ///< 1 to 2^32 - 1.
  std::chrono::nanoseconds per = std::chrono::seconds{1};     ///< The length of the span. More than 0.
  std::chrono::nanoseconds linger = std::chrono::seconds{5};  ///< How late an abandoned one may arrive. 0 or more.
};

/// The clock that everything here uses, and the one way to wait. Tests substitute their own clock.
struct steady_clock {
  /// The current time.
  static std::chrono::steady_clock::time_point now() noexcept { return std::chrono::steady_clock::now(); }
  /// Returns on a notification, at `t`, or spuriously before that. False if `t` has come.
  static bool wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock,
                         std::chrono::steady_clock::time_point t);
};

/// What a client needs of a limiter. `acquire` waits until `t` at most. The client holds the permit while the request
/// is in flight and destroys it afterwards. `permit.answered()` means that the server's answer has arrived, or that
/// nothing was sent. After `hold`, the limiter gives no permit for the key before `t`.
template <class Limiter>
concept rate_limiter = requires(Limiter& limiter, std::string_view key, typename Limiter::permit& permit,
                                std::chrono::steady_clock::time_point t, cancel_token c) {
  { Limiter::clock::now() } -> std::same_as<std::chrono::steady_clock::time_point>;
  { limiter.acquire(key, t, c) } -> std::same_as<result<typename Limiter::permit>>;
  permit.answered();
  limiter.hold(key, t);
};

/// The default limiter. A permit counts from before its request is sent until `per` after its answer arrives (or, for
/// an abandoned request, until `linger` + `per` after it was abandoned). So the server never sees more than `requests`
/// for one key in any span of `per`, however the network reorders or delays requests, provided that an abandoned
/// request arrives within `linger` or never. Throughput is at most requests / (per + round trip).
///
/// Free slots are given at once. After a caller has had to wait, callers of the key are served in order of arrival and
/// spaced 1.01 * per / requests apart, until 2 * per pass in which nobody has to wait: gateways that estimate a rate
/// from fixed windows refuse some bursts that stay below the limit. The spacing follows a schedule, so a caller that
/// wakes late does not delay those behind it, up to one step of the schedule, or a hundredth of `per` if that is
/// longer. Callers of other keys never wait for them.
///
/// A key is forgotten once it no longer affects any decision. This class is a copyable handle: copies share state, so
/// several clients of a process can share one limit.
template <class Clock> class basic_sliding_window {
 public:
  using clock = Clock;  ///< Whose time it is.

  /// One request's place in the window. Destroying the permit ends its hold; a moved-from permit holds nothing. Use a
  /// permit from one thread at a time. It may outlive the limiter.
  class permit {
   public:
    /// Holds nothing.
    permit() = default;
    /// @{ Takes over the other permit's hold; the previous hold ends.
    permit(permit&& other) noexcept = default;
    permit& operator=(permit other) noexcept {  // which ends the previous hold
      std::swap(place_, other.place_);
      return *this;
    }
    /// @}
    /// Ends the hold. Without answered(), the request counts as abandoned.
    ~permit() { detail::limiter<Clock>::end(place_, false); }
    /// Ends the hold: the answer has arrived, or certainly nothing was sent.
    void answered() noexcept { detail::limiter<Clock>::end(std::exchange(place_, {}), true); }

   private:
    friend class detail::limiter<Clock>;
    explicit permit(detail::limiter_place place) : place_(std::move(place)) {}
    detail::limiter_place place_{};
  };

  /// A new limit. acquire() refuses an invalid rate.
  explicit basic_sliding_window(nango::rate r = {}) : core_(std::make_shared<detail::limiter<Clock>>(r)) {}

  /// Waits for a permit, until `deadline` at most. Errors: rate_limited at once if even the earliest possible turn
  /// comes after `deadline` (retry_after is the wait for that turn); timed_out; canceled; invalid_argument for an
  /// invalid rate. On any error nothing has been sent.
  result<permit> acquire(std::string_view key, std::chrono::steady_clock::time_point deadline,
                         const cancel_token& cancel = {}) {
    return core_->acquire(key, deadline, cancel);
  }
  /// Gives no permit for `key` before `until`, capped at 5 minutes from now. Never shortens an earlier hold.
  void hold(std::string_view key, std::chrono::steady_clock::time_point until) { core_->hold(key, until); }

  /// The rate given to the constructor; times over a year are a year.
  const nango::rate& rate() const noexcept { return core_->limits; }
  /// The number of keys currently remembered, for monitoring.
  std::size_t size() const { return core_->size(); }

 private:
  std::shared_ptr<detail::limiter<Clock>> core_;
};
/// A client's default limiter.
using sliding_window = basic_sliding_window<steady_clock>;

/// No limit: gives each permit at once and holds nothing.
struct unlimited {
  using clock = steady_clock;  ///< Whose time it is.
  /// Holds nothing.
  struct permit {
    void answered() noexcept {}  ///< Does nothing.
  };
  /// Returns a permit at once.
  result<permit> acquire(std::string_view, std::chrono::steady_clock::time_point, const cancel_token& = {}) {
    return permit{};
  }
  void hold(std::string_view, std::chrono::steady_clock::time_point) noexcept {}  ///< Does nothing.
};

// --------------------------------------------------------------------------------------------------------------------
// Paths and queries: what goes into a URL, and how
// --------------------------------------------------------------------------------------------------------------------

/// One query parameter, before encoding. Everything but RFC 3986's unreserved characters is percent-encoded (a space
/// becomes %20).
struct param {
  std::string name;   ///< Not empty.
  std::string value;  ///< The value as text.

  /// Text: std::string, std::string_view, const char* (null counts as empty).
  template <detail::query_text Text>
  param(std::string name_, const Text& value_) : name(std::move(name_)), value(text_of(value_)) {}
  /// "true" or "false".
  param(std::string name_, std::same_as<bool> auto value_) : name(std::move(name_)), value(value_ ? "true" : "false") {}
  /// An integer, in decimal. Character types do not count as integers.
  template <detail::query_integer Integer>
  param(std::string name_, Integer value_) : name(std::move(name_)), value(std::to_string(value_)) {}
  /// Anything else is refused.
  template <class Other>
    requires(!detail::query_text<Other> && !detail::query_integer<Other> && !std::same_as<Other, bool>)
  param(std::string, const Other&) = delete;  // a value is text, a bool or an integer: std::to_string(1.5), *optional

 private:
  static std::string_view text_of(std::string_view text) { return text; }
  static std::string_view text_of(const char* text) { return text != nullptr ? text : std::string_view(); }
};

/// Query parameters in the order sent; a name may repeat.
using query = std::vector<param>;

/// Percent-encodes each segment and joins them to a path: path("crm", "contacts", id). A call refuses a path with an
/// empty, `.` or `..` segment as invalid_argument, so path("crm", "contacts", "") never lists everything.
template <std::convertible_to<std::string_view>... Segments>
  requires(!std::same_as<Segments, std::nullptr_t> && ...)
std::string path(const Segments&... segments);

/// An environment variable's value, or "" if it is not set. The name must not be null. Do not call this while another
/// thread changes the environment.
std::string env(const char* name);

// --------------------------------------------------------------------------------------------------------------------
// Envelope: from an HTTP answer to a result
// --------------------------------------------------------------------------------------------------------------------

/// A successful answer.
struct response {
  json result{};             ///< The envelope's `result`; null if it has none.
  int http_status = 0;       ///< 200 to 299.
  nango::headers headers{};  ///< As they came.
  int attempts = 0;          ///< Requests handed to the backend for this call; from parse_envelope 0.
};

/// Reads the envelope {"status":"ok","result":...} or {"status":"error","error_type":...,"error_msg":...} (API basics).
/// Never throws. Reads nothing but its argument, except the system clock for a Retry-After date (RFC 9110) when the
/// answer has no Date. Errors: params_error, processing_error or auth_error by error_type, api_error for any other
/// type; rate_limited for any 429; auth_error for a 401 without an envelope; unexpected_status for any other status but
/// 20x without an envelope; malformed_response for a 20x body without an envelope, or an envelope that contradicts its
/// status. JSON nested deeper than 512 levels counts as invalid; a lone surrogate becomes U+FFFD. A fraction of a
/// second in Retry-After is rounded up; of several numbers the largest counts.
result<response> parse_envelope(http_response answer);

// --------------------------------------------------------------------------------------------------------------------
// Retries: when to try again
// --------------------------------------------------------------------------------------------------------------------

/// How often a call is tried, and with what delays. Delays are 0 or more.
struct retry_policy {
  int max_attempts = 3;                        ///< At least 1, which means no retries.
  std::chrono::milliseconds base_delay{100};   ///< Upper bound of the first delay; it doubles with each further one.
  std::chrono::milliseconds max_delay{5'000};  ///< Upper bound of every delay, unless the API asks for more.
};

/// How long to wait before the next attempt; empty if there is to be none. A pure function. These are worth another
/// attempt: a 429, connection_failed, timed_out, processing_error, any error with status 408, and unexpected_status
/// 500, 502, 503, 504 and 520 to 524. GET, HEAD, PUT and DELETE are then always retried, other methods only if
/// may_have_executed is false. `number` counts attempts from 1 and is that of the failed one. `jitter` in [0, 1)
/// spreads the delay over [0, min(max_delay, base_delay * 2^(number-1))). The delay is never less than retry_after.
std::optional<std::chrono::milliseconds> next_delay(const error& e, std::string_view method, int number,
                                                    const retry_policy& policy, double jitter);

// --------------------------------------------------------------------------------------------------------------------
// Client: what programs call
// --------------------------------------------------------------------------------------------------------------------

/// Passed to client_options::on_attempt after each attempt. The views are valid until the observer returns.
struct attempt {
  std::string_view method{};                            ///< In upper case, "GET".
  std::string_view path{};                              ///< Without its query.
  int number = 0;                                       ///< From 1.
  int http_status = 0;                                  ///< 0 without an HTTP answer.
  std::optional<errc> outcome{};                        ///< Empty on success.
  std::chrono::nanoseconds waited{};                    ///< Time in the limiter, including its hold after a 429.
  std::chrono::nanoseconds elapsed{};                   ///< Time in the backend.
  std::optional<std::chrono::milliseconds> retry_in{};  ///< Set if another attempt is planned.
  std::string_view limit_key{};                         ///< The limiter's key, such as the user token: personal data.
  std::span<const header> headers{};                    ///< The answer's headers; empty without an answer.
};

/// On whose behalf a handle calls. With a path_prefix, paths belong to another API: they may be empty, contain empty
/// segments, and end in a slash.
struct identity {
  nango::headers headers{};   ///< Sent with each call: as call_options::headers, plus X-User-Account; none empty.
  std::string limit_key{};    ///< The key that the limiter counts by; empty means no limit.
  std::string path_prefix{};  ///< Prepended to each path; ends with a slash unless empty.
  /// The name of a header that repeats a body's content type, unless the call has a header of that name; empty for
  /// none.
  std::string content_type_header{};
};

/// The differences between the API of 2022 (API basics), which is the default, and the one of hosted::options. Many
/// threads may call these functions at once. `path` is the requested path without a leading slash.
struct dialect {
  /// Turns an answer into a result. Its errors and responses carry the answer's headers; its errors also carry the
  /// body.
  result<response> (*parse)(http_response) = &parse_envelope;
  /// The answer's member that for_each reads the list from; empty if the whole answer is the list.
  std::string_view list_member = "result";
  /// True for an answer that the API forwards from another API. A 429 forwarded this way holds no key, and send()
  /// returns it unchanged. Null if the API forwards none.
  bool (*is_upstream)(std::string_view path, const http_response& answer) = nullptr;
  /// How long the limiter holds the key after this answer. Called for each answer, successes included, unless
  /// is_upstream is true for it. Null, or an empty result, means no hold.
  std::optional<std::chrono::milliseconds> (*hold_for)(std::string_view path, const http_response& answer) = nullptr;
};

/// The configuration of a client, checked when the client is made: invalid options are invalid_argument. Times are more
/// than 0, except attempt_timeout. Texts that go into headers have no control characters and no space at either end.
///
///     nango::client_options options{.api_key = key, .timeout = 5s};  // named: a misspelt field is then one error
///     nango::client api(options);
struct client_options {
  std::string api_key{};                              ///< A secret: from 8 characters on in no error or observer call.
  std::string user_token{};                           ///< For programs with one end user; may be empty.
  std::string base_url{default_base_url};             ///< https://, optionally with a path.
  std::string user_agent{};                           ///< Prepended to "nango.hpp/" and the version.
  std::chrono::milliseconds timeout{30'000};          ///< A whole call, including limiter and retries.
  std::chrono::milliseconds attempt_timeout{0};       ///< One attempt; 0 allows the rest of the call's time.
  std::chrono::milliseconds connect_timeout{10'000};  ///< Name lookup, TCP and CONNECT, over all addresses.
  retry_policy retry{};                               ///< When to try again.
  nango::rate rate{};                                 ///< The limit for each user token.
  std::string limit_key{};                            ///< For calls without a user token; empty means no limit.
  std::size_t max_response_bytes = std::size_t{64} << 20;  ///< Limit of one decompressed body. At least 1.
  std::string ca_file{};                  ///< PEM file, read once; empty means the system's authorities.
  std::string proxy{};                    ///< "http://[user:pass@]host:port", for an https:// base URL; may be empty.
  bool allow_plaintext_loopback = false;  ///< Allows http:// to 127.0.0.0/8, ::1 and localhost only.
  nango::dialect dialect{};               ///< Which API answers; hosted::options sets it.
  /// Called after each attempt, on the calling thread, outside every lock. Many threads may be in it at once. An
  /// exception that it throws ends the call.
  std::function<void(const attempt&)> on_attempt{};
};

/// Options of a single call.
struct call_options {
  /// Extra headers. A header that the client or the handle's identity sets is invalid_argument, except Accept, which
  /// replaces the client's.
  nango::headers headers{};
  std::optional<std::chrono::milliseconds> timeout{};  ///< Overrides client_options::timeout. More than 0.
  cancel_token cancel{};                               ///< Ends the call within 100 ms, except in the name lookup.
  std::optional<retry_policy> retry{};                 ///< Overrides client_options::retry.
  /// Retries this call like a PUT, whatever its method: for a request with an Idempotency-Key, for example. The client
  /// inspects no header: a server that does not recognize the repeated request may act on it twice.
  bool idempotent = false;
  std::optional<std::string> list_member{};  ///< For for_each only: overrides dialect::list_member.
};

/// A JSON body. Its numbers are finite. Text is not accepted, because it would be sent as a JSON string: write
/// json::parse(text) or json(text).
template <class Body>
concept json_body = std::same_as<Body, json> || std::same_as<Body, std::nullptr_t> ||
                    (std::constructible_from<json, const Body&> &&
                     !std::convertible_to<const Body&, std::string_view>);  // say json::parse(text) or json(text)

/// The result type of a call: void, or a type for json::get<Value>(). A type of your own needs a from_json beside it.
template <class Value>
concept json_value = std::is_void_v<Value> || std::same_as<Value, json> || requires(const json& from) {
  from.get<Value>();  // write void from_json(const nango::json&, Value&) in the namespace of Value
};

/// A backend that a client can construct: from the options, or by a static create() that returns a result.
template <class Backend>
concept made_from_options =
    std::constructible_from<Backend, const client_options&> || requires(const client_options& options) {
      { Backend::create(options) } -> std::same_as<result<Backend>>;
    };

/// The client. It is a handle: copies and user() handles share connections, limiter and options, and keep them alive.
/// Every const member may be called from many threads at once.
///
/// A path is relative to the base URL, with or without a leading slash. Characters that need percent-encoding get it. A
/// whole URL, a `?` or `#`, control characters, and an empty, `.` or `..` segment are invalid_argument. A call may fail
/// with any errc. Calls throw only what your own code throws: on_attempt, your dialect, backend or limiter, and your
/// from_json if it throws something other than a std::exception.
template <http_backend Backend, rate_limiter Limiter = sliding_window> class basic_client {
  using core = detail::client_core<Backend, Limiter>;

 public:
  /// @{ Without a backend argument, the client makes one from the options; without a limiter, from
  /// client_options::rate. Throws nango::exception if the options are invalid (invalid_argument) or the backend cannot
  /// be made; with exceptions off, calls std::abort.
  explicit basic_client(client_options options)
    requires made_from_options<Backend>
      : basic_client(create(std::move(options)).value()) {}
  basic_client(client_options options, Backend backend)
      : basic_client(create(std::move(options), std::move(backend)).value()) {}
  basic_client(client_options options, Backend backend, Limiter limiter)
      : basic_client(create(std::move(options), std::move(backend), std::move(limiter)).value()) {}
  /// @}
  /// @{ Moving copies, so a moved-from handle stays usable.
  basic_client(const basic_client&) = default;
  basic_client& operator=(const basic_client&) = default;
  /// @}

  /// @{ Like the constructors, but returns the error: invalid_argument, or the backend's.
  static result<basic_client> create(client_options options)
    requires made_from_options<Backend>
  {
    return wrap(core::make(std::move(options)));
  }
  static result<basic_client> create(client_options options, Backend backend) {
    return wrap(core::make(std::move(options), std::move(backend)));
  }
  static result<basic_client> create(client_options options, Backend backend, Limiter limiter) {
    return wrap(core::make(std::move(options), std::move(backend), std::move(limiter)));
  }
  /// @}

  /// A handle for one end user (API basics: X-User-Account). With an invalid token, such as "", each of its calls is
  /// invalid_argument.
  basic_client user(std::string_view token) const { return as(core::user(token)); }
  /// The general form of user(): sets the headers that name the caller and the key that the limiter counts by.
  basic_client as(identity who) const { return {core_, core_->make_handle(std::move(who))}; }
  /// The identity given to as(), or the one that follows from the options and user(). It lives as long as this handle
  /// or any copy of it.
  const identity& acting_as() const noexcept { return core::identity_of(*handle_); }  // the handle is incomplete here
  /// The key that the limiter counts this handle's calls by; empty if they are not limited. Lives as long as
  /// acting_as().
  std::string_view limit_key() const noexcept { return acting_as().limit_key; }

  /// @{ Sends a GET or DELETE and decodes the result by `json::get<Value>()`. A mismatch is decode_error; so is a
  /// number that does not fit an integer type. Value = void ignores the result.
  template <json_value Value = json>
  result<Value> get(std::string_view path, const query& parameters = {}, const call_options& options = {}) const {
    return core_->template get<Value>({*handle_, "GET", path, parameters, options});
  }
  template <json_value Value = json>
  result<Value> del(std::string_view path, const query& parameters = {}, const call_options& options = {}) const {
    return core_->template get<Value>({*handle_, "DELETE", path, parameters, options});
  }
  template <json_value Value = json, std::convertible_to<std::string_view> Text>
  result<Value> get(std::string_view, std::initializer_list<Text> /* a query has pairs: {{"name", "Rolf"}} */,
                    const call_options& = {}) const = delete;
  template <json_value Value = json, std::convertible_to<std::string_view> Text>
  result<Value> del(std::string_view, std::initializer_list<Text> /* a query has pairs: {{"name", "Rolf"}} */,
                    const call_options& = {}) const = delete;
  /// @}
  /// @{ Sends a POST, PUT or PATCH with a JSON body; `{}` is null, as nlohmann/json reads it. The overloads with a
  /// query need all four arguments.
  template <json_value Value = json, json_body Body = json>
  result<Value> post(std::string_view path, const Body& body, const call_options& options = {}) const {
    return post<Value>(path, body, query(), options);
  }
  template <json_value Value = json, json_body Body = json>
  result<Value> post(std::string_view path, const Body& body, const query& parameters,
                     const call_options& options) const {
    return core_->template get_json<Value>({*handle_, "POST", path, parameters, options}, body);
  }
  template <json_value Value = json, json_body Body = json>
  result<Value> put(std::string_view path, const Body& body, const call_options& options = {}) const {
    return put<Value>(path, body, query(), options);
  }
  template <json_value Value = json, json_body Body = json>
  result<Value> put(std::string_view path, const Body& body, const query& parameters,
                    const call_options& options) const {
    return core_->template get_json<Value>({*handle_, "PUT", path, parameters, options}, body);
  }
  template <json_value Value = json, json_body Body = json>
  result<Value> patch(std::string_view path, const Body& body, const call_options& options = {}) const {
    return patch<Value>(path, body, query(), options);
  }
  template <json_value Value = json, json_body Body = json>
  result<Value> patch(std::string_view path, const Body& body, const query& parameters,
                      const call_options& options) const {
    return core_->template get_json<Value>({*handle_, "PATCH", path, parameters, options}, body);
  }
  /// @}

  /// GETs a list and passes its elements, one at a time, to `fn(Value&&)`. `fn` may return false to stop; the rest is
  /// then not read. Returns the number of elements passed on. The list is the answer's member
  /// call_options::list_member, or dialect::list_member. Memory holds the answer's text and the JSON of one element,
  /// never the whole list's.
  ///
  /// Succeeds and fails like `get<std::vector<Value>>`, except that the first fault in the text is reported, and a list
  /// that occurs twice is malformed_response. Elements before a fault have been passed on. An element that does not
  /// decode as Value ends the call with decode_error and its place, such as `result[17]`. With Value = `result<T>`,
  /// `fn` gets that error, without body and headers, and the call goes on. Exceptions from `fn` propagate.
  template <class Value = json, std::invocable<Value&&> Fn>
  result<std::size_t> for_each(std::string_view path, Fn&& fn, const query& parameters = {},
                               const call_options& options = {}) const {
    return core_->template for_each<Value>({*handle_, "GET", path, parameters, options}, fn,
                                           [](json&) { return std::string(); });
  }

  /// Sends any method but CONNECT and HEAD, in upper case, and returns status and headers too. (A HEAD answer has no
  /// body to read: use send.)
  result<response> request(std::string_view method, std::string_view path, const query& parameters = {},
                           const call_options& options = {}) const {
    return core_->template get<response>({*handle_, method, path, parameters, options});
  }
  /// Like request(), with a JSON body.
  template <json_body Body = json>
  result<response> request_json(std::string_view method, std::string_view path, const Body& body,
                                const query& parameters = {}, const call_options& options = {}) const {
    return core_->template get_json<response>({*handle_, method, path, parameters, options}, body);
  }

  /// Returns the answer unchanged, whatever its status, for bodies that are not JSON. Sends any method but CONNECT. A
  /// 429 is rate_limited, held and retried, unless dialect::is_upstream attributes it to another API.
  result<http_response> send(std::string_view method, std::string_view path, const query& parameters = {},
                             std::string_view body = {}, std::string_view content_type = "application/json",
                             const call_options& options = {}) const {
    return core_->send({*handle_, method, path, parameters, options, body, content_type});
  }

 private:
  friend struct detail::client_access;
  basic_client(std::shared_ptr<core> shared, std::shared_ptr<const detail::handle> who)
      : core_(std::move(shared)), handle_(std::move(who)) {}
  static result<basic_client> wrap(result<std::shared_ptr<core>> made) {
    if (!made) return std::move(made).error();
    return basic_client(*made, (*made)->own_handle());
  }

  std::shared_ptr<core> core_;
  std::shared_ptr<const detail::handle> handle_;
};

// --------------------------------------------------------------------------------------------------------------------
// Default backend: cpp-httplib over TLS
// --------------------------------------------------------------------------------------------------------------------

#ifndef NANGO_NO_HTTPLIB
/// cpp-httplib, any release from 0.11.4 (Debian 12) to the current 0.53.1, as the HTTP codec over connections that this
/// backend makes and owns:
///
/// - Certificates and host names are always verified (SAN only, TLS 1.2 at least, no renegotiation); nothing turns that
///   off. An address is not sent as SNI.
/// - `send` ends by the request's deadline, and within 100 ms of cancellation, in every phase but the name lookup,
///   which cannot be interrupted. It starts no thread and changes no signal handling; SIGPIPE is never raised.
/// - The request on the wire is the URL, the headers and the body byte for byte, plus Host, Accept-Encoding and
///   Content-Length. It is written once. Redirects are not followed.
/// - An answer that arrives while the body is being written ends the writing and becomes the outcome.
/// - A response head is limited to 64 KiB and 1,000 headers, and one line may use all of it. The same limits apply to
///   trailers, which are dropped. Interim answers are skipped, and their heads count. An unsound head or framing is
///   malformed_response.
/// - The addresses of a name share connect_timeout. Each gets a head start of 250 ms over the next (RFC 8305).
/// - A connection whose peer is gone (a NAT that forgot it, a machine that slept) fails with connection_failed after 5
///   to 15 s on Linux; elsewhere the deadline ends the call.
/// - Each request in flight uses one connection and one descriptor. Idle connections are reused last in, first out, for
///   at most 50 s, or less if the server's Keep-Alive says so, and no connection for longer than 10 minutes. The next
///   call closes expired ones.
/// - A child of fork() makes its own connections and leaves the parent's alone.
/// - With CPPHTTPLIB_ZLIB_SUPPORT, which must be the same in the whole program, requests ask for gzip, except HEAD.
///   Answers are returned decompressed, without Content-Encoding and Content-Length; a truncated or corrupt stream is
///   malformed_response. A call with its own Accept-Encoding gets its answer unchanged, and so does a call whose error
///   answer cannot be decoded.
///
/// Do not call it from destructors of static objects: httplib has static objects of its own, which may already be
/// destroyed.
///
/// Copies share their connections. Linux is tested, and Windows with GCC (mingw-w64, under Wine); MSVC, macOS and the
/// BSDs are supported by specification only. On Windows the system's authorities are those of its ROOT store when the
/// client is made; certificates in the Disallowed store are refused.
class httplib_backend {
 public:
  /// Throws nango::exception if the options are invalid, or ca_file or proxy cannot be used (with exceptions off, calls
  /// std::abort).
  explicit httplib_backend(const client_options& options) : httplib_backend(create(options).value()) {}
  /// Like the constructor, but returns the error.
  static result<httplib_backend> create(const client_options& options);

  /// Sends one request. Errors: connection_failed, tls_failed, timed_out, canceled, response_too_large,
  /// malformed_response; invalid_argument for a URL outside the base URL's host. Throws nothing but std::bad_alloc.
  result<http_response> send(const http_request& request);

  /// Closes all idle connections, for use before a machine sleeps, a process is traced, or a worker rests. Requests in
  /// flight continue. A backend is a handle: keep a copy of the one that you pass to a client.
  void close_idle();

 private:
  explicit httplib_backend(std::shared_ptr<detail::httplib_pool> pool) : pool_(std::move(pool)) {}
  std::shared_ptr<detail::httplib_pool> pool_;
};

/// The client for most programs.
using client = basic_client<httplib_backend>;
#endif

// --------------------------------------------------------------------------------------------------------------------
// CRM resources: the records of an end user's CRM as types
// --------------------------------------------------------------------------------------------------------------------

/// The CRM resources of the API ("CRM resources": the API's pages on contacts, accounts and opportunities). Names are
/// those of the wire, except `raw_external_data`, which is `raw` here, and `adresses` and `email_adresses`, which the
/// wire spells so.
///
/// Any field but `id` may be absent, null, or (unless it is text) ""; it is then empty. Numbers may come as JSON texts
/// ("0.78") that hold a JSON number and nothing else, bools as "true" and "false", and texts as numbers. Times are ISO
/// 8601: "2022-08-01T09:30:00Z", without the seconds, with a fraction (dropped), with an offset such as +02:00, without
/// an offset (then UTC), or a date alone (midnight UTC). Unknown fields are ignored. A record without an `id`, with a
/// field of another type, or with a time outside the years 0000 to 9999 in UTC is decode_error, with the field's place
/// and the record's id.
namespace crm {

/// A time in UTC, of a year from 0 to 9999.
using time_point = std::chrono::sys_seconds;

/// A postal address.
struct address {
  /// @{ As the CRM has it.
  std::optional<std::string> street_1{}, street_2{}, city{}, state{}, zip_code{}, country{}, address_type{};
  /// @}
};
/// An email address.
struct email_address {
  /// @{ As the CRM has it.
  std::optional<std::string> email{}, email_type{};
  /// @}
};
/// A phone number.
struct phone_number {
  /// @{ As the CRM has it.
  std::optional<std::string> phone_number{}, phone_number_type{};
  /// @}
};
/// A person.
struct contact {
  std::string id{};  ///< A UUID.
  /// @{ As the CRM has it; `account` is an account's id.
  std::optional<std::string> external_id{}, first_name{}, last_name{}, job_title{}, account{};
  std::vector<address> addresses{};
  std::vector<email_address> email_addresses{};
  std::vector<crm::phone_number> phone_numbers{};
  std::optional<time_point> last_activity_at{}, external_created_at{}, external_modified_at{};
  /// @}
  json raw{};  ///< The CRM's own record; null unless include_raw asked for it.
};
/// An opportunity, as listed in an account.
struct account_opportunity {
  /// @{ As the CRM has it.
  std::optional<std::string> opportunity_id{}, opportunity_stage{};
  std::optional<bool> opportunity_closed{};
  /// @}
};
/// A company.
struct account {
  std::string id{};  ///< A UUID.
  /// @{ As the CRM has it; `contacts` are ids.
  std::optional<std::string> external_id{}, name{}, description{}, industry{};
  std::optional<double> annual_revenue{}, number_of_employees{};
  std::optional<std::string> website{};
  std::vector<std::string> contacts{};
  std::vector<account_opportunity> opportunities{};
  std::vector<address> addresses{};
  std::vector<crm::phone_number> phone_numbers{};
  std::optional<time_point> last_activity_at{}, external_created_at{}, external_modified_at{};
  /// @}
  json raw{};  ///< The CRM's own record; null unless include_raw asked for it.
};
/// A deal.
struct opportunity {
  std::string id{};  ///< A UUID.
  /// @{ As the CRM has it; `contacts` and `accounts` are ids, `probability` is from 0 to 1.
  std::optional<std::string> external_id{}, name{}, description{}, stage{};
  std::optional<double> amount{};
  std::optional<time_point> close_date{};
  std::optional<double> probability{}, expected_revenue{};
  std::optional<std::string> expected_revenue_currency{};
  std::optional<bool> is_won{}, is_closed{};
  std::vector<std::string> contacts{}, accounts{};
  std::optional<time_point> last_activity_at{}, external_created_at{}, external_modified_at{};
  /// @}
  json raw{};  ///< The CRM's own record; null unless include_raw asked for it.
};

/// Selects contacts. Empty fields do not restrict the selection.
struct contact_query {
  std::vector<std::string> email{};    ///< Any of these addresses. None may be empty or contain a comma.
  std::vector<std::string> account{};  ///< Any of these account ids. None may be empty or contain a comma.
  std::string name{};                  ///< Part of the first or the last name.
  bool include_raw = false;            ///< Asks for `raw` as well.
};
/// Selects accounts.
struct account_query {
  std::string name{};        ///< In the name; empty: all.
  bool include_raw = false;  ///< Asks for `raw` as well.
};
/// Selects opportunities.
struct opportunity_query {
  std::string name{};        ///< In the name; empty: all.
  bool include_raw = false;  ///< Asks for `raw` as well.
};

/// One of the types above.
template <class Value>
concept record = detail::any_of<Value, address, email_address, crm::phone_number, contact, account_opportunity, account,
                                opportunity>;

}  // namespace crm

// --------------------------------------------------------------------------------------------------------------------
// Hosted API: what answers at api.nango.dev today
// --------------------------------------------------------------------------------------------------------------------

/// The dialect of the current service ("hosted API": its documentation of August 2026): bare JSON, connections instead
/// of user tokens, and one window of requests for each account. Everything about basic_client applies here too.
namespace hosted {

/// Options for the hosted API: its base URL, its dialect, and one limit for all calls of a key. `plan` is the account's
/// rate (200, 1,000, 2,000 or 5,000 a minute; hosted API). Other programs share the window. When X-RateLimit-Remaining
/// says that it is spent, the key is held until a second after X-RateLimit-Reset. Answers under proxy/ do not cause
/// this hold, because an upstream's headers of these names replace the service's. `timeout` is `plan.per` plus 30 s, so
/// a call can wait out a whole window. Several clients of one key share a limit if they share a limiter: their
/// limit_key is the same.
client_options options(std::string api_key, rate plan = {200, std::chrono::minutes{1}});

/// Reads an answer without an envelope (hosted API). 20x: the JSON body, or null if it is empty. Errors: rate_limited
/// for 429, with retry_after a second more than Retry-After, which the service rounds down. With a body
/// `{"error":{"code":C,"message":M,"errors":[...]}}`, `{"error":M}` or `{"message":M}`: params_error (400, 415, 422),
/// auth_error (401, 403), processing_error (5xx), else api_error, with C as error::type. Without such a body:
/// auth_error (401, 403), else unexpected_status. malformed_response for a 20x whose body is not JSON: an unknown path
/// answers 200 with a page. Never throws.
result<response> parse_bare(http_response answer);

/// Selects records. Empty fields and 0 do not restrict the selection.
struct record_query {
  std::string cursor{};            ///< Where to resume: record_progress::cursor, or a record's own.
  std::size_t limit = 0;           ///< Records in a page: 1 to 10,000; 0: the service's 100.
  std::string modified_after{};    ///< As timestamp() writes it; at most 12 months ago (hosted API).
  std::vector<std::string> ids{};  ///< Only these ids: 100 at most.
  std::string filter{};            ///< "added", "updated", "deleted", or several with commas.
  std::string variant{};           ///< For a sync that has several variants.
};

/// A time for record_query::modified_after, such as "2026-02-03T04:05:06Z": the service refuses every other form.
/// Throws std::out_of_range for a year that has no four digits; with exceptions off: std::abort.
std::string timestamp(std::chrono::sys_seconds time);

/// How far for_each_record() got.
struct record_progress {
  std::optional<error> failure{};  ///< The error, if a call ended it early.
  /// Where to resume, even after `done`, to get new records: the last record's own cursor, which repeats no record.
  /// Records without `_nango_metadata.cursor` are repeated with their page.
  std::string cursor{};
  std::size_t count = 0;  ///< Number of records passed to `fn`.
  bool done = false;      ///< True if `fn` has had all records.
};

#ifndef NANGO_NO_HTTPLIB
/// True if a webhook comes from the service: `signature_hex` (X-Nango-Hmac-Sha256, upper or lower case) is the
/// HMAC-SHA256 of the unchanged body with the signing key. Compares in constant time. False for a malformed signature,
/// an empty key, and a key over 64 KiB. Throws nothing. Requires the default backend, because it needs OpenSSL.
bool verify_webhook(std::string_view raw_body, std::string_view signature_hex, std::string_view signing_key) noexcept;
#endif

}  // namespace hosted

// ====================================================================================================================
// Private parts, in the same sections
// ====================================================================================================================

namespace detail {

using time_point = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
inline constexpr time_point never = (time_point::max)();
inline constexpr time_point long_ago = (time_point::min)();
inline constexpr nanoseconds a_minute = std::chrono::minutes(1), an_hour = std::chrono::hours(1);
inline constexpr nanoseconds a_year = std::chrono::hours(24 * 365);

// --- Errors ---------------------------------------------------------------------------------------------------------

// An error raised before anything was sent.
inline error unsent(errc code, std::string message) {
  return {.code = code, .message = std::move(message), .may_have_executed = false};
}
inline error refuse(std::string message) { return unsent(errc::invalid_argument, std::move(message)); }

inline bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
// Not std::all_of: it would be compiled anew, ten functions deep, for each kind of character.
inline bool each_is(std::string_view text, bool (*kind)(char)) {
  for (const char c : text)
    if (!kind(c)) return false;
  return true;
}
inline bool is_no_control(char c) noexcept { return !is_control(c); }
inline bool has_control(std::string_view text) { return !each_is(text, is_no_control); }
// A valid header value: no control characters, and no space at either end.
inline bool is_field_value(std::string_view text) {
  return !has_control(text) && !text.starts_with(' ') && !text.ends_with(' ');
}
// For a terminal too: C0 and C1 controls, U+2028 to U+202E (separators, bidirectional controls) and U+2066 to U+2069
// become spaces.
inline std::string one_line(std::string text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto next = (byte(i) << 16) | (byte(i + 1) << 8) | byte(i + 2);
    const bool is_c1 = next >= 0xc2'80'00 && next < 0xc2'a0'00;
    const bool is_format = (next >= 0xe2'80'a8 && next <= 0xe2'80'ae) || (next >= 0xe2'81'a6 && next <= 0xe2'81'a9);
    const std::size_t size = is_format ? 3 : is_c1 ? 2 : is_control(text[i]) ? 1 : 0;
    std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(i), size, ' ');
  }
  return text;
}

inline std::string describe(const error& e) {
  std::string line(e.code == errc::api_error && !e.type.empty() ? std::string_view(e.type) : to_string(e.code));
  if (e.http_status != 0) line += " (HTTP " + std::to_string(e.http_status) + ")";
  line += ": " + e.message;
  const auto attempts = e.attempts > 1 ? ", " + std::to_string(e.attempts) + " attempts" : std::string();
  if (!e.request.empty()) line += " [" + e.request + attempts + "]";
  return one_line(std::move(line));
}

[[noreturn]] inline void abort_with(const std::string& line) {
  static_cast<void>(std::fputs(("nango: " + line + '\n').c_str(), stderr));
  std::abort();
}
inline void no_value(const error& e) { abort_with("a result without a value was dereferenced: " + describe(e)); }

// Throws an exception made of `from`, or aborts with its words where exceptions are off.
template <class Exception, class From> [[noreturn]] void raise_as(const From& from) {
#ifdef NANGO_DETAIL_EXCEPTIONS
  throw Exception(from);
#else
  abort_with(Exception(from).what());
#endif
}
inline void raise(const error& e) { raise_as<exception>(e); }

// Runs f. Returns the text of a thrown std::exception, or an empty string.
template <class Fn> std::string caught(const Fn& f) {
#ifdef NANGO_DETAIL_EXCEPTIONS
  try {
    f();
  } catch (const std::bad_alloc&) {
    throw;  // out of memory is reported as nothing else
  } catch (const std::exception& e) {
    return *e.what() != '\0' ? e.what() : "an exception without words";
  }
#else
  f();
#endif
  return {};
}

struct errc_entry {
  errc code;
  std::string_view name, text;
};
inline constexpr std::array errc_table{
    errc_entry{errc::params_error, "PARAMS_ERROR", "the parameters of the request are wrong"},
    errc_entry{errc::processing_error, "PROCESSING_ERROR", "the API failed at processing the request"},
    errc_entry{errc::auth_error, "AUTH_ERROR", "the API key or the user token is missing or invalid"},
    errc_entry{errc::api_error, "api_error", "the API reported an error of a type unknown to this version"},
    errc_entry{errc::rate_limited, "rate_limited", "too many requests"},
    errc_entry{errc::unexpected_status, "unexpected_status", "the HTTP status is unexpected and no envelope says why"},
    errc_entry{errc::invalid_argument, "invalid_argument", "the call is wrong; nothing was sent"},
    errc_entry{errc::malformed_response, "malformed_response", "the answer is no envelope or contradicts its status"},
    errc_entry{errc::decode_error, "decode_error", "the result is not of the type asked for"},
    errc_entry{errc::response_too_large, "response_too_large", "the answer is larger than allowed"},
    errc_entry{errc::connection_failed, "connection_failed", "the connection could not be made or broke"},
    errc_entry{errc::tls_failed, "tls_failed", "no trusted TLS connection could be made"},
    errc_entry{errc::timed_out, "timed_out", "the deadline passed"},
    errc_entry{errc::canceled, "canceled", "the call was canceled"}};
inline errc_entry errc_info(errc code) noexcept {
  for (const auto& entry : errc_table)
    if (entry.code == code) return entry;
  return {code, "unknown", "unknown error"};
}

class error_category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "nango"; }
  std::string message(int code) const override { return std::string(errc_info(static_cast<errc>(code)).text); }
  bool equivalent(int code, const std::error_condition& condition) const noexcept override {
    const auto is = [&](auto... conditions) { return ((condition == std::make_error_condition(conditions)) || ...); };
    using e = std::errc;
    switch (static_cast<errc>(code)) {
      case errc::timed_out: return is(e::timed_out);
      case errc::canceled: return is(e::operation_canceled);
      case errc::invalid_argument: return is(e::invalid_argument);
      case errc::connection_failed:
        return is(e::connection_refused, e::connection_reset, e::connection_aborted, e::not_connected,
                  e::host_unreachable, e::network_unreachable);
      default: return std::error_category::equivalent(code, condition);
    }
  }
};

inline constexpr std::size_t kept_body_bytes = 16'384;

// Removes secrets from errors, even where a server's answer repeats them.
class secrets {
 public:
  // Short secrets are ignored: masking them would garble the server's text. Longer secrets come first, since one may
  // contain another.
  void add(std::string secret) {
    if (secret.size() < 8) return;
    for (auto& place : secrets_)
      if (place.size() < secret.size()) place.swap(secret);
  }
  void scrub(std::string& text) const {
    constexpr std::string_view mask = "***";
    for (const auto& secret : secrets_) {
      if (secret.empty()) return;
      for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + mask.size()))
        text.replace(at, secret.size(), mask);
    }
  }
  void scrub(error& e) const {
    if (e.body.size() + 3 >= kept_body_bytes) e.body.resize(e.body.size() - cut_part(e.body));
    for (auto* text : {&e.type, &e.message, &e.body, &e.request}) scrub(*text);
    for (auto& field : e.headers) {
      scrub(field.name);
      scrub(field.value);
    }
  }

 private:
  // The length of a partial secret at the end of a truncated text; 0 if the text ends with a whole one.
  std::size_t cut_part(std::string_view text) const {
    std::size_t part = 0, whole = 0;
    for (const std::string_view secret : secrets_) {
      for (auto length = secret.size(); length > part; --length)
        if (text.ends_with(secret.substr(0, length))) (length == secret.size() ? whole : part) = length;
    }
    return part > whole ? part : 0;
  }

  std::array<std::string, 3> secrets_{};  // the key, the proxy's password as it is and as it was given
};

// --- Time that does not overflow ------------------------------------------------------------------------------------

template <class Duration> time_point after(time_point t, Duration d) noexcept {
  return d > std::chrono::floor<Duration>(never - t) ? never : t + d;
}
inline nanoseconds times(nanoseconds d, std::size_t n) noexcept {
  const auto factor = static_cast<nanoseconds::rep>((std::min)(n, std::size_t{1} << 30));
  return factor != 0 && d > (nanoseconds::max)() / factor ? (nanoseconds::max)() : d * factor;
}
inline milliseconds round_up(nanoseconds d) noexcept { return std::chrono::ceil<milliseconds>(d); }

// Waits check for cancellation every 50 ms, so that they end within 100 ms.
inline time_point next_look(time_point now, const cancel_token& cancel) noexcept {
  return cancel.cancelable() ? after(now, milliseconds(50)) : never;
}

// Sleeps through the clock's seam. False if it was canceled.
template <class Clock> bool sleep_until(time_point t, const cancel_token& cancel) {
  std::mutex mutex;
  std::condition_variable wake;
  std::unique_lock lock(mutex);
  for (auto now = Clock::now(); now < t && !cancel.canceled(); now = Clock::now())
    Clock::wait_until(wake, lock, (std::min)(t, next_look(now, cancel)));
  return !cancel.canceled();
}

// --- Processes ------------------------------------------------------------------------------------------------------

// Distinguishes this process from its parents: fork() changes the number in the child. (Asking for the process id would
// cost a system call for each call.)
inline std::atomic<std::uint64_t> process_number = 0;
inline void watch_forks() noexcept {
#ifndef _WIN32
  [[maybe_unused]] static const int watched = ::pthread_atfork(nullptr, nullptr, [] {
    const auto forks = (process_number.load(std::memory_order_relaxed) >> 32) + 1;
    process_number.store((forks << 32) | static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
  });
#endif
}

// A Value for each process. In a child of fork(), Value::for_child() makes a new one at the first use. The child never
// destroys the inherited one: a thread that does not exist in the child may have held its lock.
template <class Value> class per_process {
 public:
  explicit per_process(std::unique_ptr<Value> first) : value_(first.release()) { watch_forks(); }
  ~per_process() { delete &get(); }
  Value& get() const {
    auto* found = value_.load(std::memory_order_acquire);
    if (found->process != process_number.load(std::memory_order_relaxed)) {
      auto own = found->for_child();
      if (value_.compare_exchange_strong(found, own.get())) found = own.release();  // else another thread was faster
    }
    return *found;
  }

 private:
  mutable std::atomic<Value*> value_;
};

// --- Rate limiter ---------------------------------------------------------------------------------------------------

inline std::string problem_of(const rate& r) {
  if (r.requests == 0) return "rate.requests must be at least 1; to lift the limit use nango::unlimited";
  if (r.requests > (std::numeric_limits<std::uint32_t>::max)()) return "rate.requests must be below 2^32";
  if (r.per <= nanoseconds::zero()) return "rate.per must be more than 0";
  if (r.linger < nanoseconds::zero()) return "rate.linger must not be negative";
  return {};
}

// A caller in the line for one key.
struct limiter_waiter {
  std::condition_variable wake{};
  limiter_waiter* next_in_line = nullptr;
};

// The state of one key. Its decisions are functions of this state and the time; nothing here waits or locks.
class limiter_window {
 public:
  // When the next caller may go: the first in line, or a new one if there is no line. never: a held permit must end
  // first.
  time_point turn(const rate& r) const {
    return ends_.size() < r.requests ? not_before_ : (std::max)(not_before_, ends_[ends_.size() - r.requests]);
  }

  // The earliest turn of a caller who enters the line now: all held permits back now, answers at once, nobody in front
  // giving up. Plays the turns through, but only until each of the `requests` slots was back once. From then on only
  // the pace matters: `requests` steps take 1.01 * per, and a slot that was taken `requests` turns ago is back after
  // `per`.
  time_point earliest_turn(time_point now, const rate& r) const {
    std::size_t n = 1;  // place in line; counted, not kept: most keys have no line, and there may be a million
    for (const auto* w = first_; w != nullptr; w = w->next_in_line) ++n;
    const auto taken = (std::min)(ends_.size(), r.requests);
    const auto again = after(now, r.per);  // what is held now, or taken now, is back then
    std::vector<time_point> back(ends_.end() - static_cast<std::ptrdiff_t>(taken), ends_.end());
    std::replace(back.begin(), back.end(), never, again);
    auto t = (std::max)(not_before_, now - slack(r));
    auto all_back = t < now ? again : t;
    for (const auto each : back) all_back = (std::max)(all_back, each);
    std::priority_queue slots(std::greater<>(), std::move(back));  // the slot that is back next is on top
    for (;; t = after(t, step(r)), --n) {
      if (slots.size() == r.requests) {
        t = (std::max)(t, slots.top());
        slots.pop();
      }
      if (n == 1) return (std::max)(t, now);
      if (t >= all_back) return after(t, times(step(r), n - 1));
      slots.push(after((std::max)(t, now), r.per));
    }
  }

  // Records a permit given at `now` that was available from turn() on. `waited`: its caller had to wait.
  void begin(const rate& r, time_point now, bool waited) {
    const auto due = turn(r);
    const auto made_up_for = now - slack(r);
    const auto recent = std::upper_bound(ends_.cbegin(), ends_.cend(), made_up_for);
    if (ends_.cend() - recent <= recent - ends_.cbegin()) ends_.erase(ends_.cbegin(), recent);
    ends_.push_back(never);
    if (waited) paced_until_ = after(now, times(r.per, 2));
    if (now < paced_until_) not_before_ = after((std::max)(due, made_up_for), step(r));
  }

  // Records that a permit ends at `now`.
  void end(const rate& r, time_point now, bool answered) noexcept {
    ends_.pop_back();  // makes room for when it stops counting
    const auto t = after(answered ? now : after(now, r.linger), r.per);
    ends_.insert(std::upper_bound(ends_.begin(), ends_.end(), t), t);
  }

  void hold(time_point now, time_point until) noexcept {
    not_before_ = (std::max)(not_before_, (std::min)(until, after(now, 5 * a_minute)));
  }

  // True when the entry can be dropped.
  bool idle(time_point now) const noexcept {
    return !has_line() && (std::max)(not_before_, paced_until_) <= now && (ends_.empty() || ends_.back() <= now);
  }

  bool has_line() const noexcept { return first_ != nullptr; }
  bool is_first(const limiter_waiter& waiter) const noexcept { return first_ == &waiter; }
  void wake_first() noexcept {
    if (first_ != nullptr) first_->wake.notify_one();
  }
  void enter_line(limiter_waiter& waiter) noexcept { link_to(nullptr) = &waiter; }  // once for each waiter
  void leave_line(const limiter_waiter& waiter) noexcept { link_to(&waiter) = waiter.next_in_line; }

 private:
  // The pointer to this waiter in the line, or the null pointer at its end.
  limiter_waiter*& link_to(const limiter_waiter* waiter) noexcept {
    auto** link = &first_;
    while (*link != waiter) link = &(*link)->next_in_line;
    return *link;
  }
  static nanoseconds step(const rate& r) noexcept {  // rounded up, so that `requests` of them are no less than `per`
    const auto n = static_cast<nanoseconds::rep>(r.requests);
    return (r.per + r.per / 100 + nanoseconds(n - 1)) / n;
  }
  // The schedule absorbs late wake-ups up to a step or a hundredth of `per`. More would allow a burst.
  static nanoseconds slack(const rate& r) noexcept { return (std::max)(step(r), r.per / 100); }

  // When each request stops counting, in order; never: its permit is held. Expired entries stay for a while.
  std::vector<time_point> ends_{};
  time_point not_before_ = long_ago;   // nobody goes earlier: a hold, or a step after the last permit
  time_point paced_until_ = long_ago;  // callers go step by step
  limiter_waiter* first_ = nullptr;    // in line
};

struct text_hash : std::hash<std::string_view> {
  using is_transparent = void;
};

struct limiter_shard {
  rate limits;
  const std::uint64_t process = process_number.load(std::memory_order_relaxed);
  std::mutex mutex{};
  std::unordered_map<std::string, limiter_window, text_hash, std::equal_to<>> keys{};
  std::size_t bucket = 0;  // where the next sweep goes on
  std::size_t calls;       // every 8th call sweeps 16 buckets of one shard, round robin

  limiter_shard(const rate& r, std::size_t first_call) : limits(r), calls(first_call) {}

  limiter_window& window(std::string_view key) {
    const auto found = keys.find(key);
    return found != keys.end() ? found->second : keys.try_emplace(std::string(key)).first->second;
  }
  void sweep(time_point now) {
    for (int i = 0; i < 16 && bucket < keys.bucket_count(); ++i, ++bucket) {
      for (auto it = keys.begin(bucket); it != keys.end(bucket);) {
        const auto key = it++;
        if (key->second.idle(now)) keys.erase(key->first);
      }
    }
    if (bucket < keys.bucket_count()) return;
    bucket = 0;
    if (keys.bucket_count() > 8 * keys.size() + 64) keys.rehash(0);
  }
};

struct limiter_shards {
  const std::uint64_t process = process_number.load(std::memory_order_relaxed);
  std::array<std::shared_ptr<limiter_shard>, 64> all{};

  // Each shard begins its sweeps at its neighbor.
  explicit limiter_shards(const rate& limits) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::make_shared<limiter_shard>(limits, 8 * i);
  }
  std::unique_ptr<limiter_shards> for_child() const { return std::make_unique<limiter_shards>(all[0]->limits); }
};

// All keys of a limiter. Each shard has its own lock and lifetime, so callers of different keys rarely contend.
template <class Clock> class limiter {
 public:
  rate limits;

  explicit limiter(const rate& r)
      : limits{r.requests, (std::min)(r.per, a_year), (std::min)(r.linger, a_year)},
        shards_(std::make_unique<limiter_shards>(limits)) {}

  using permit = typename basic_sliding_window<Clock>::permit;

  result<permit> acquire(std::string_view key, time_point deadline, const cancel_token& cancel) {
    if (auto problem = problem_of(limits); !problem.empty()) return refuse(std::move(problem));
    if (cancel.canceled()) return unsent(errc::canceled, "canceled before a permit was asked for");
    const auto& shard = shard_of(key);
    std::unique_lock lock(shard->mutex);
    const auto now = Clock::now();
    sweep_some(*shard, now);
    auto& window = shard->window(key);
    if (!window.has_line() && window.turn(limits) <= now) {
      window.begin(limits, now, false);
      return permit({shard, &window});
    }
    if (const auto turn = window.earliest_turn(now, limits); turn > deadline) {
      auto e = unsent(errc::rate_limited, "the rate limiter's next turn comes after the deadline");
      e.retry_after = round_up(turn - now);
      return e;
    }
    return wait_in_line(lock, {shard, &window}, deadline, cancel);
  }

  static void end(const limiter_place& place, bool answered) noexcept {
    // A permit may hold nothing, or a place that counts in the parent process.
    if (!place.shard || place.shard->process != process_number.load(std::memory_order_relaxed)) return;
    const std::unique_lock lock(place.shard->mutex);
    place.window->end(place.shard->limits, Clock::now(), answered);
    place.window->wake_first();
  }

  void hold(std::string_view key, time_point until) {
    const auto& shard = shard_of(key);
    const std::unique_lock lock(shard->mutex);
    shard->window(key).hold(Clock::now(), until);
  }

  std::size_t size() {
    std::size_t count = 0;
    for (const auto& shard : shards_.get().all) {
      const std::unique_lock lock(shard->mutex);
      count += shard->keys.size();
    }
    return count;
  }

 private:
  // Waits until a permit has begun or the wait is over.
  result<permit> wait_in_line(std::unique_lock<std::mutex>& lock, limiter_place place, time_point deadline,
                              const cancel_token& cancel) {
    auto& window = *place.window;
    limiter_waiter self;
    window.enter_line(self);
    const auto turn = [&] { return window.is_first(self) ? window.turn(limits) : never; };
    auto now = Clock::now();
    for (; turn() > now && now < deadline && !cancel.canceled(); now = Clock::now())
      Clock::wait_until(self.wake, lock, (std::min)({turn(), deadline, next_look(now, cancel)}));
    const bool is_due = turn() <= now;
    window.leave_line(self);
    window.wake_first();
    if (cancel.canceled()) return unsent(errc::canceled, "canceled while waiting for the rate limiter");
    if (!is_due) return unsent(errc::timed_out, "the deadline passed while waiting for the rate limiter");
    window.begin(limits, now, true);
    return permit(std::move(place));
  }

  const std::shared_ptr<limiter_shard>& shard_of(std::string_view key) const noexcept {
    const std::size_t hash = text_hash{}(key);
    const auto& shards = shards_.get().all;
    return shards[(hash ^ (hash >> 16)) % shards.size()];
  }

  // Drops a few idle keys of one shard now and then, so that memory follows the active keys. The caller holds the lock
  // of `own` and looks its key up afterwards.
  void sweep_some(limiter_shard& own, time_point now) {
    if (++own.calls % 8 != 0) return;
    const auto& shards = shards_.get().all;
    auto& shard = *shards[own.calls / 8 % shards.size()];
    if (&shard == &own) return shard.sweep(now);
    if (const std::unique_lock other(shard.mutex, std::try_to_lock); other) shard.sweep(now);
  }

  per_process<limiter_shards> shards_;
};

// --- Paths and queries ----------------------------------------------------------------------------------------------

inline bool is_alpha(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
inline bool is_one_of(char c, std::string_view set) noexcept { return set.find(c) != std::string_view::npos; }
inline char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
inline int hex_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}
inline bool equal_names(std::string_view a, std::string_view b) noexcept {  // ASCII, whatever the case
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}
// Strips spaces and tabs from both ends.
inline std::string_view trimmed(std::string_view text) noexcept {
  text.remove_prefix((std::min)(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);  // npos + 1 is 0
}
// Takes the first item off a list, with the separator behind it.
inline std::string_view take_item(std::string_view& list, char separator) noexcept {
  const auto item = list.substr(0, list.find(separator));
  list.remove_prefix((std::min)(item.size() + 1, list.size()));
  return item;
}
// Parses the whole text as a decimal number.
inline std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// RFC 3986. `%XX` at the front, a character that needs no escape anywhere, one that needs none in a path.
inline bool is_escape(std::string_view text) noexcept {
  return text.size() >= 3 && text[0] == '%' && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0;
}
inline bool is_unreserved(char c) noexcept { return is_alpha(c) || is_digit(c) || is_one_of(c, "-._~"); }
inline bool is_path_char(char c) noexcept { return is_unreserved(c) || is_one_of(c, "!$&'()*+,;=:@/"); }

// Percent-encodes what is not `plain`; `keeps_escapes`: but leaves what is encoded already.
inline void append_encoded(std::string& out, std::string_view text, bool (*plain)(char) noexcept = is_unreserved,
                           bool keeps_escapes = false) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (plain(text[i]) || (keeps_escapes && is_escape(text.substr(i)))) {
      out += text[i];
    } else {
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
}
inline void append_path(std::string& out, std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  std::size_t plain = 0;
  while (plain < path.size() && is_path_char(path[plain])) ++plain;
  out.append(path.substr(0, plain));  // mostly all of it
  append_encoded(out, path.substr(plain), is_path_char, true);
}
inline std::string unescape(std::string_view text) {
  std::string plain;
  for (; !text.empty(); text.remove_prefix(is_escape(text) ? 3 : 1))
    plain += is_escape(text) ? static_cast<char>(hex_value(text[1]) * 16 + hex_value(text[2])) : text[0];
  return plain;
}

inline bool is_whole_url(std::string_view path) noexcept {
  const auto scheme = path.substr(0, path.find(':'));
  const auto in_scheme = [](char c) { return is_alpha(c) || is_digit(c) || is_one_of(c, "+-."); };
  const bool is_web = scheme.size() < path.size() && (equal_names(scheme, "http") || equal_names(scheme, "https"));
  return is_web || (path.substr(scheme.size()).starts_with(":/") && each_is(scheme, in_scheme));
}
// The paths of another API may be empty, have empty segments and end in a slash.
inline std::string problem_of_path(std::string_view path, bool of_another_api = false) {
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty() && of_another_api) return {};
  if (path.empty()) return "the path is empty; give one below the base URL, such as \"crm/contacts\"";
  if (has_control(path)) return "the path has control characters; percent-encode them with nango::path()";
  if (is_whole_url(path)) {
    return of_another_api ? "the path is a whole URL; cut its scheme and host off"
                          : "the path is a whole URL; give it relative to client_options::base_url, such as "
                            "\"crm/contacts\"";
  }
  if (path.find_first_of("?#") != std::string_view::npos) {
    return "the path has a '?' or '#'; give parameters as nango::query, or percent-encode with nango::path()";
  }
  const auto is_dots = [](std::string_view plain) { return plain == "." || plain == ".."; };
  for (std::size_t at = 0; at <= path.size();) {
    const auto segment = path.substr(at, path.find('/', at) - at);
    at += segment.size() + 1;
    if (segment.empty() && !of_another_api) return "the path has an empty segment (or \"//\"); is an id missing?";
    const bool may_be_dots = segment.size() <= 6 && (segment.starts_with('.') || segment.starts_with('%'));  // "%2E%2E"
    if (may_be_dots && is_dots(unescape(segment))) return "the path has a '.' or '..' segment; write the path out";
  }
  return {};
}

inline bool is_host(std::string_view host, bool bracketed) noexcept {
  const auto of_address = [](char c) { return hex_value(c) >= 0 || is_one_of(c, ":."); };
  const auto of_name = [](char c) { return is_alpha(c) || is_digit(c) || is_one_of(c, "-._"); };
  if (host.empty() || host.size() > 253) return false;
  if (bracketed) return each_is(host, of_address) && host.find(':') != host.rfind(':');
  return each_is(host, of_name) && host.front() != '.' && host.find("..") == std::string_view::npos;
}

inline bool is_loopback(const std::string& host) {
  unsigned b = 0, c = 0, d = 0;
  if (std::sscanf(host.c_str(), "127.%3u.%3u.%3u", &b, &c, &d) != 3) return host == "localhost" || host == "::1";
  const auto plain = "127." + std::to_string(b) + '.' + std::to_string(c) + '.' + std::to_string(d);
  return host == plain && b < 256 && c < 256 && d < 256;  // no other way to write it
}

// A URL of the options, taken apart; the views are of its text.
struct url_parts {
  std::string_view scheme{}, user_info{}, path{};  // user_info with its '@'; path: whatever follows the authority
  std::string host{};                              // in lower case, IPv6 without brackets
  int port = 0;                                    // 0: none is given
};

inline result<url_parts> split_url(std::string_view url, const char* option) {
  const auto bad = [&](const char* what) { return refuse(std::string("client_options::") + option + ' ' + what); };
  if (!each_is(url, [](char c) { return c > ' ' && c < 0x7f; })) {
    return bad("has a space, a control character or one that is not ASCII; percent-encode it (a host: in punycode)");
  }
  url_parts parts{.scheme = url.substr(0, url.find("://"))};
  if (parts.scheme.size() == url.size()) return bad("has no scheme, such as https://");
  url.remove_prefix(parts.scheme.size() + 3);
  auto place = url.substr(0, url.find_first_of("/?#"));
  parts.path = url.substr(place.size());
  parts.user_info = place.substr(0, place.rfind('@') + 1);
  place.remove_prefix(parts.user_info.size());
  const bool bracketed = place.starts_with('[') && is_one_of(']', place);
  const auto host = bracketed ? place.substr(1, place.find(']') - 1) : place.substr(0, place.find(':'));
  const auto port = place.substr(host.size() + (bracketed ? 2 : 0));
  if (host.ends_with('.'))
    return bad("has a host that ends in a dot, which certificates do not name; leave the dot out");
  if (!is_host(host, bracketed)) return bad("needs a host: a name, an IPv4 address, or an IPv6 address in brackets");
  for (const char c : host) parts.host += lower(c);
  if (port.empty()) return parts;
  const auto number = port.starts_with(':') ? parse_number(port.substr(1)).value_or(0) : 0;
  if (number < 1 || number > 65'535) return bad("needs a port from 1 to 65535 after the host's colon");
  parts.port = static_cast<int>(number);
  return parts;
}

// Host and port, an IPv6 address in brackets.
inline std::string authority_of(const std::string& host, int port) {
  return (is_one_of(':', host) ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

// The base URL.
struct endpoint {
  bool tls = true;
  std::string host{};
  int port = 0;
  std::string authority{};  // as the Host header has it
  std::string origin{};     // "https://authority"
  std::string prefix{};     // the path, "/" at both ends
};

inline result<endpoint> parse_endpoint(std::string_view url, bool allow_plaintext_loopback) {
  const auto bad = [](const std::string& what) { return refuse("client_options::base_url " + what); };
  auto parts = split_url(url, "base_url");
  if (!parts) return std::move(parts).error();
  const bool tls = equal_names(parts->scheme, "https");
  if (!tls && !(allow_plaintext_loopback && equal_names(parts->scheme, "http") && is_loopback(parts->host))) {
    return bad("must begin with https:// (http:// is for loopback hosts, with allow_plaintext_loopback)");
  }
  if (!parts->user_info.empty()) return bad("must not have user info; the key goes into api_key");
  auto path = parts->path;
  if (path.ends_with('/')) path.remove_suffix(1);
  const auto problem = path.empty() ? std::string() : problem_of_path(path);
  if (!problem.empty()) return bad("is wrong: " + problem);
  const int usual_port = tls ? 443 : 80;
  endpoint base{.tls = tls, .host = std::move(parts->host), .port = parts->port != 0 ? parts->port : usual_port};
  base.authority = authority_of(base.host, base.port);
  if (base.port == usual_port) base.authority.resize(base.authority.rfind(':'));
  base.origin = (tls ? "https://" : "http://") + base.authority;
  base.prefix = '/';
  append_path(base.prefix, path);
  if (!path.empty()) base.prefix += '/';
  return base;
}

inline std::string build_url(const endpoint& base, std::string_view path, const query& parameters) {
  std::string url;
  auto size = base.origin.size() + base.prefix.size() + path.size();
  for (const auto& [name, value] : parameters) size += name.size() + value.size() + 2;
  url.reserve(size + size / 8);
  url.append(base.origin).append(base.prefix);
  append_path(url, path);
  char separator = '?';
  for (const auto& [name, value] : parameters) {
    url += std::exchange(separator, '&');
    append_encoded(url, name);
    url += '=';
    append_encoded(url, value);
  }
  return url;
}

// --- Envelope -------------------------------------------------------------------------------------------------------

inline bool is_success(int status) noexcept { return status >= 200 && status < 300; }

// The end of the string that begins at `quote`: its closing quote, or the end of the text.
inline std::size_t end_of_string(std::string_view text, std::size_t quote) noexcept {
  for (auto end = text.find('"', quote + 1); end < text.size(); end = text.find('"', end + 1)) {
    const auto backslashes = end - 1 - text.find_last_not_of('\\', end - 1);
    if (backslashes % 2 == 0) return end;
  }
  return text.size();
}
// Deeper JSON counts as invalid: copying or dumping such a value overflows the stack.
inline constexpr std::size_t most_levels = 512;
inline bool is_too_deep(std::string_view text) noexcept {
  if (text.size() <= 2 * most_levels) return false;
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') i = end_of_string(text, i);
    if ((c == '[' || c == '{') && ++depth > most_levels) return true;
    if ((c == ']' || c == '}') && depth > 0) --depth;
  }
  return false;
}

// The code unit of the `\uXXXX` at `at`; 0 if there is none.
inline unsigned escaped_unit(std::string_view text, std::size_t at) noexcept {
  unsigned unit = 0;
  if (at + 6 > text.size() || text.substr(at, 2) != "\\u") return 0;
  const auto* end = text.data() + at + 6;
  return std::from_chars(text.data() + at + 2, end, unit, 16).ptr == end ? unit : 0;
}
// A lone surrogate among the escapes of a JSON text, which the grammar allows and nlohmann/json refuses, becomes
// U+FFFD. True if there was one.
inline bool mend_surrogates(std::string& text) {
  bool mended = false;
  for (auto at = text.find('\\'); at < text.size(); at = text.find('\\', at)) {
    const auto kind = escaped_unit(text, at) >> 10;  // 0x36: the first of a pair, 0x37: the second
    const bool is_pair = kind == 0x36 && escaped_unit(text, at + 6) >> 10 == 0x37;
    const bool is_lone = !is_pair && (kind == 0x36 || kind == 0x37);
    if (is_lone) text.replace(at + 2, 4, "fffd");
    mended |= is_lone;
    at += is_pair ? 12 : 2;
  }
  return mended;
}

// (By the same iterators everywhere, so that each unit compiles one parser.)
inline json parse_text(std::string_view text, bool throws = false) {
  return json::parse(text.data(), text.data() + text.size(), nullptr, throws);
}
// Discarded if the text is not JSON. A NUL byte makes it invalid; nlohmann/json would take it for the end of the text.
inline json parse_json(std::string_view text) {
  if (is_one_of('\0', text) || is_too_deep(text)) return json(json::value_t::discarded);
  auto value = parse_text(text);
  if (!value.is_discarded()) return value;
  std::string copy(text);
  return mend_surrogates(copy) ? parse_text(copy) : value;
}

// Reads an answer that contains a list, in one pass. It keeps everything around the list as json::parse() would, with
// the list empty. It builds one element at a time and calls `take(list_reader&)`, which may use it up and returns false
// to stop.
class list_reader {
 public:
  // The list is the member of that name; empty: the whole answer.
  list_reader(std::string_view name, std::function<bool(list_reader&)> take) : name_(name), take_(std::move(take)) {}
  list_reader(list_reader&&) = delete;  // nor copied: it points into itself

  // True if the text, which has no lone surrogates, is JSON to its end.
  // (A template, so that only units that read lists compile the parser again.)
  template <class Text> bool read(const Text& text) {
    return !is_one_of('\0', text) && json::sax_parse(text.data(), text.data() + text.size(), this);
  }

  json around{}, element{};
  std::size_t index = 0;                   // of the element; after the last one, how many there were
  bool skips = false;                      // the elements to come are neither built nor handed on
  bool stopped = false, repeated = false;  // `take` said so; the list's name came twice

  // What json::sax_parse() calls.
  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(json::number_integer_t value) { return put(value); }
  bool number_unsigned(json::number_unsigned_t value) { return put(value); }
  bool number_float(json::number_float_t value, const std::string&) { return put(value); }
  bool string(const std::string& value) { return put(value); }
  bool binary(const json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(json::value_t::object); }
  bool start_array(std::size_t) {
    const bool is_list = name_.empty() ? open_.empty() : is_due_ && open_.size() == 1;
    if (!open(json::value_t::array)) return false;
    if (is_list) level_ = open_.size();
    return true;
  }
  bool key(const std::string& name) {
    if (open_.size() == 1) {
      is_due_ = !name_.empty() && name == name_;
      repeated = is_due_ && around.contains(name);
    }
    if (!passes_over()) member_ = &(*open_.back())[name];
    return !repeated;
  }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) { return false; }

 private:
  bool passes_over() const noexcept { return skips && open_.size() >= level_; }
  json& next() {  // where the next value goes
    if (open_.size() == level_) return element;
    if (open_.empty()) return around;
    return open_.back()->is_array() ? open_.back()->emplace_back() : *member_;
  }
  template <class Scalar> bool put(const Scalar& value) {
    if (!passes_over()) next() = value;
    return end_value();
  }
  bool open(json::value_t kind) {
    if (open_.size() == most_levels) return false;
    open_.push_back(passes_over() ? nullptr : &(next() = kind));
    return true;
  }
  bool close() {
    open_.pop_back();
    if (open_.size() + 1 == level_) level_ = no_level;
    return end_value();
  }
  bool end_value() {
    if (open_.size() != level_) return true;
    stopped = !skips && !take_(*this);
    ++index;
    return !stopped;
  }

  static constexpr auto no_level = (std::numeric_limits<std::size_t>::max)();
  std::string_view name_{};
  std::function<bool(list_reader&)> take_;
  std::size_t level_ = no_level;  // how many arrays and objects are open where an element begins
  std::vector<json*> open_{};
  json* member_ = nullptr;  // of the object that was opened last
  bool is_due_ = false;     // the name of the list came last
};
// The member of that name; null if there is none, or if this is no object.
inline const json& member_of(const json& object, std::string_view name) {
  static const json none;
  const auto found = object.find(name);
  return found != object.end() ? *found : none;
}
// The text of such a member; null if it is no text.
inline const std::string* find_text(const json& object, std::string_view name) {
  return member_of(object, name).get_ptr<const std::string*>();
}
// Why the list is missing; empty if it is there.
inline std::string problem_of_list(std::string_view name, const json& around) {
  const auto& found = name.empty() ? around : member_of(around, name);
  if (found.is_array()) return {};
  return std::string(name.empty() ? "the answer" : name) + " is not an array, but of type " + found.type_name();
}
// Why parse_json() refuses a text; empty if it accepts it.
inline std::string problem_of_json(std::string text) {
  if (text.empty()) return "it is empty";
  if (is_too_deep(text)) return "it is nested deeper than " + std::to_string(most_levels) + " levels";
  if (const auto nul = text.find('\0'); nul != std::string::npos) return "byte " + std::to_string(nul + 1) + ": a NUL";
  mend_surrogates(text);
#if defined(NANGO_DETAIL_EXCEPTIONS) && !defined(JSON_NOEXCEPTION)
  try {
    return parse_text(text, true).is_discarded() ? "it is no JSON" : "";
  } catch (const json::parse_error& e) {
    // "[json.exception...] parse error at line 1, column 4: syntax error while parsing value - REASON; last read:
    // '...'"
    const std::string_view what = e.what();
    const auto reason = what.substr((std::min)(what.find(" - "), what.size() - 3) + 3);
    return "byte " + std::to_string(e.byte) + ": " + std::string(reason.substr(0, reason.find("; last read: ")));
  } catch (const json::exception&) {
    return "a number is out of range";
  }
#else
  return parse_text(text).is_discarded() ? "it breaks JSON's grammar" : "";
#endif
}
inline bool is_web_page(std::string_view body) {
  body.remove_prefix((std::min)(body.find_first_not_of(" \t\r\n"), body.size()));
  const auto starts_with = [&](std::string_view tag) { return equal_names(body.substr(0, tag.size()), tag); };
  return starts_with("<!doctype html") || starts_with("<html");
}

inline const std::string* find_header(std::span<const header> fields, std::string_view name) noexcept {
  for (const auto& field : fields)
    if (equal_names(field.name, name)) return &field.value;
  return nullptr;
}

// RFC 9110's three forms of a date. UTC may stand in place of GMT.
inline std::optional<std::chrono::sys_seconds> parse_http_date(std::string text) {
  if (text.ends_with(" UTC")) text.replace(text.size() - 3, 3, "GMT");
  int day = 0, year = 0, hour = 0, minute = 0, second = 0, used = 0;
  std::array<char, 4> name{};
  const auto is_all = [&](int fields) { return fields == 6 && static_cast<std::size_t>(used) == text.size(); };
  const char* c = text.c_str();
  if (is_all(std::sscanf(c, "%*[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &day, name.data(), &year, &hour,
                         &minute, &second, &used))) {
    year += year < 70 ? 2000 : 1900;
  } else if (!is_all(std::sscanf(c, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &day, name.data(), &year,
                                 &hour, &minute, &second, &used)) &&
             !is_all(std::sscanf(c, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", name.data(), &day, &hour, &minute,
                                 &second, &year, &used))) {
    return std::nullopt;
  }
  const std::string_view month_name = name.data();
  const auto month = std::string_view("JanFebMarAprMayJunJulAugSepOctNovDec").find(month_name);
  if (month_name.size() != 3 || month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  const auto date = std::chrono::year(year) / static_cast<int>(month / 3 + 1) / day;
  const bool is_time = hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second <= 60;
  if (!date.ok() || !is_time) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::seconds((hour * 60 + minute) * 60 + second);
}

// The longest wait that an answer may ask for.
inline constexpr auto longest_wait = std::chrono::floor<std::chrono::seconds>(a_year);

// Seconds, rounded up; the largest of several numbers. Empty if any part is not a number.
inline std::optional<std::chrono::seconds> parse_seconds(std::string_view list) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(longest_wait.count());
  std::optional<std::chrono::seconds> largest;
  while (!list.empty()) {
    const auto number = trimmed(take_item(list, ','));
    if (number.empty()) continue;
    auto fraction = number;
    const auto whole = take_item(fraction, '.');
    if (whole.empty() || number.back() == '.' || !each_is(whole, is_digit) || !each_is(fraction, is_digit)) return {};
    const auto up = fraction.find_first_not_of('0') != std::string_view::npos ? 1U : 0U;
    const auto value = (std::min)(parse_number(whole).value_or(most), most) + up;  // none: beyond 64 bits
    largest = (std::max)(largest, std::optional(std::chrono::seconds(value)));
  }
  return largest;
}

// When an answer was sent: by its Date, else now by the system's clock.
inline std::chrono::sys_seconds time_of(const http_response& answer) {
  const auto* sent = find_header(answer.headers, "Date");
  const auto date = sent != nullptr ? parse_http_date(*sent) : std::nullopt;
  return date ? *date : std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

// Each Retry-After has seconds or a date; the longest counts. Empty if none can be read.
inline std::optional<milliseconds> retry_after(const http_response& answer) {
  std::optional<std::chrono::seconds> longest;
  for (const auto& [name, value] : answer.headers) {
    if (!equal_names(name, "Retry-After")) continue;
    auto wait = parse_seconds(value);
    if (const auto date = wait ? std::nullopt : parse_http_date(value)) wait = *date - time_of(answer);
    longest = (std::max)(longest, wait);
  }
  if (longest) longest = std::clamp(*longest, std::chrono::seconds(0), longest_wait);
  return longest;
}

// The error that an error envelope describes.
inline error error_from_envelope(const std::string& type, const std::string* text) {
  error e{.code = errc::api_error, .type = type};
  for (const auto code : {errc::params_error, errc::processing_error, errc::auth_error})
    if (type == to_string(code)) e.code = code;
  if (text != nullptr) e.message = one_line(*text);
  if (e.message.empty()) e.message = "the API gave no error_msg";
  return e;
}

// Ends with a whole character where the body is UTF-8.
inline std::string first_bytes(std::string_view body) {
  if (body.size() <= kept_body_bytes) return std::string(body);
  const auto goes_on = [&](std::size_t at) { return (static_cast<unsigned char>(body[at]) & 0xc0) == 0x80; };
  auto end = kept_body_bytes;
  while (end + 3 > kept_body_bytes && goes_on(end)) --end;
  return std::string(body.substr(0, goes_on(end) ? kept_body_bytes : end));
}
// Copies headers and first bytes of an answer into an error about it.
inline void keep_answer(error& e, const http_response& answer) {
  e.headers = answer.headers;
  e.body = first_bytes(answer.body);
}
// Completes the error that an answer means, by all but its code, type and message.
inline void complete(error& e, const http_response& answer) {
  e.http_status = answer.status;
  e.retry_after = retry_after(answer);
  // With these codes the API says that it did not act on the request.
  e.may_have_executed = e.code != errc::params_error && e.code != errc::auth_error && e.code != errc::rate_limited;
  keep_answer(e, answer);
}

// The error for an answer without an envelope.
inline error without_envelope(int status, const std::string& body) {
  error e{.code = is_success(status) ? errc::malformed_response : errc::unexpected_status,
          .message = "the answer is no envelope"};
  const auto problem = is_success(status) ? problem_of_json(body) : std::string();
  if (!problem.empty()) e.message = "the answer is no JSON; " + problem;
  if (is_web_page(body)) {
    e.message =
        "the answer is a web page; is client_options::base_url right, or is this the service of "
        "nango::hosted::options?";
  }
  if (status >= 300 && status < 400) e.message = "a redirect (not followed); is client_options::base_url right?";
  if (status == 401) e = {.code = errc::auth_error, .message = "the API key or the user token was refused"};
  return e;
}

// --- Retries --------------------------------------------------------------------------------------------------------

inline bool is_worth_another(const error& e) noexcept {
  const int status = e.http_status;
  switch (e.code) {
    case errc::connection_failed:
    case errc::timed_out:
    case errc::processing_error: return true;
    case errc::rate_limited: return status == 429;  // else it is the limiter's own
    case errc::unexpected_status:                   // a CDN in front of the API sends 520 to 524
      return status == 408 || status == 500 || (status >= 502 && status <= 504) || (status >= 520 && status <= 524);
    default: return status == 408;  // the server closed a connection that it took for idle (RFC 9110)
  }
}

inline std::string problem_of(const retry_policy& policy) {
  if (policy.max_attempts < 1) return "retry.max_attempts must be at least 1, which is no retries";
  if (policy.base_delay.count() >= 0 && policy.max_delay.count() >= 0) return {};
  return "retry.base_delay and retry.max_delay must not be negative";
}

// --- Client ---------------------------------------------------------------------------------------------------------

inline bool is_token(std::string_view text) noexcept {  // RFC 9110
  const auto allowed = [](char c) { return is_alpha(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~"); };
  return !text.empty() && each_is(text, allowed);
}

// A proxy's address and credentials.
struct proxy_address {
  std::string host{}, user{}, password{};
  std::string written_password{};  // percent-encoded as it was given
  int port = 0;                    // 0: no proxy
};

inline result<proxy_address> parse_proxy(std::string_view proxy) {
  const auto bad = [](const char* what) { return refuse(std::string("client_options::proxy ") + what); };
  if (proxy.empty()) return proxy_address();
  constexpr const char* form = "must read http://[user:pass@]host:port";
  if (!equal_names(proxy.substr(0, 7), "http://")) return bad(form);
  auto parts = split_url(proxy, "proxy");
  if (!parts) return std::move(parts).error();
  if (parts->port == 0 || parts->path.size() > 1) return bad(form);
  proxy_address found{.host = std::move(parts->host), .port = parts->port};
  if (parts->user_info.empty()) return found;
  const auto credentials = parts->user_info.substr(0, parts->user_info.size() - 1);
  const auto colon = credentials.find(':');
  // The password may be empty (RFC 7617); what has no colon might be one in the wrong place.
  if (colon == 0 || colon == std::string_view::npos) return bad("has an '@' but not user:pass before it");
  found.user = unescape(credentials.substr(0, colon));
  found.written_password = credentials.substr(colon + 1);
  found.password = unescape(found.written_password);
  if (found.user.find(':') != std::string::npos) return bad("has a ':' in the user name, where none can be");
  if (has_control(found.user + found.password)) return bad("has control characters in user:pass");
  return found;
}

// The parsed parts of valid options.
struct checked_options {
  endpoint base{};
  proxy_address proxy{};
  secrets hidden{};
};

inline result<checked_options> check_options(const client_options& options) {
  const auto bad = [](const std::string& what) { return refuse("client_options::" + what); };
  if (options.api_key.empty()) return bad("api_key is empty; is the environment variable set?");
  for (const auto& [name, text] : {std::pair{"api_key", &options.api_key},
                                   {"user_token", &options.user_token},
                                   {"user_agent", &options.user_agent}}) {
    if (is_field_value(*text)) continue;
    return bad(std::string(name) + " has control characters or a space at an end; was a line break read with it?");
  }
  if (options.timeout.count() <= 0) return bad("timeout must be more than 0");
  if (options.attempt_timeout.count() < 0) return bad("attempt_timeout must not be negative (0: what is left)");
  if (options.connect_timeout.count() <= 0) return bad("connect_timeout must be more than 0");
  if (const auto problem = problem_of(options.retry); !problem.empty()) return bad(problem);
  if (const auto problem = problem_of(options.rate); !problem.empty()) return bad(problem);
  if (options.max_response_bytes == 0) return bad("max_response_bytes must be at least 1");
  if (options.dialect.parse == nullptr) return bad("dialect.parse is null; leave it out for parse_envelope");
  auto base = parse_endpoint(options.base_url, options.allow_plaintext_loopback);
  if (!base) return std::move(base).error();
  auto proxy = parse_proxy(options.proxy);
  if (!proxy) return std::move(proxy).error();
  if (proxy->port != 0 && !base->tls) return bad("proxy needs an https:// base_url, to hide the API key");
  secrets hidden;
  for (const auto& secret : {options.api_key, proxy->password, proxy->written_password}) hidden.add(secret);
  return checked_options{*std::move(base), *std::move(proxy), std::move(hidden)};
}

inline constexpr const char* user_header = "X-User-Account";

inline std::string problem_of_header(const header& field, bool of_identity) {
  constexpr std::array<std::string_view, 8> own{"Authorization",     "Host",       "Content-Length", "Connection",
                                                "Transfer-Encoding", "User-Agent", "Content-Type",   user_header};
  if (!is_token(field.name)) return "a header's name must be a token (letters, digits and !#$%&'*+-.^_`|~)";
  if (!is_field_value(field.value)) {
    return "the header " + field.name + " has control characters or a space at an end of its value";
  }
  const bool of_user = of_identity && equal_names(field.name, user_header);
  if (of_identity && field.value.empty()) {
    return of_user ? "the user token is empty; for calls without an end user use the client itself"
                   : "the header " + field.name + " of an identity is empty";
  }
  if (of_user) return {};
  for (const auto name : own)
    if (equal_names(field.name, name)) return "the header " + field.name + " is the client's own and cannot be given";
  return {};
}

inline std::string problem_of(const identity& who) {
  for (const auto& field : who.headers)
    if (auto problem = problem_of_header(field, true); !problem.empty()) return problem;
  const auto& prefix = who.path_prefix;
  if (!prefix.empty() && (!prefix.ends_with('/') || !problem_of_path(prefix.substr(0, prefix.size() - 1)).empty())) {
    return "identity::path_prefix must be a path with a slash at its end";
  }
  return who.content_type_header.empty() ? std::string() : problem_of_header({who.content_type_header, ""}, false);
}

// State shared by all calls of a handle.
struct handle : identity {
  handle(const client_options& options, identity who) : identity(std::move(who)), refused(problem_of(*this)) {
    const std::string agent = options.user_agent.empty() ? "" : options.user_agent + ' ';
    all_headers.reserve(headers.size() + 3);
    all_headers.push_back({"Authorization", "Bearer " + options.api_key});
    if (find_header(headers, "Accept") == nullptr) all_headers.push_back({"Accept", "application/json"});
    all_headers.push_back({"User-Agent", agent + "nango.hpp/" NANGO_VERSION});
    for (const auto& field : headers) all_headers.push_back(field);
  }

  nango::headers all_headers{};  // complete for a call without a body and extra headers
  std::string refused{};         // why each call is refused: the identity is bad
};

// Without the one leading slash that a path may have.
inline std::string_view relative(std::string_view path) noexcept { return path.substr(path.starts_with('/') ? 1 : 0); }

// A call as it is asked for. Its views and references live as long as the call.
struct call {
  const handle& who;
  std::string_view method, path;
  const query& parameters;
  const call_options& options;
  std::string_view body{}, content_type = "application/json";
};

// A call that may be sent.
struct prepared {
  const call& asked;
  std::string path{}, url{};     // the path has the handle's prefix
  nango::headers own_headers{};  // empty if the handle's are all
  std::span<const header> headers() const noexcept { return own_headers.empty() ? asked.who.all_headers : own_headers; }
};

inline nango::headers merge_headers(const call& asked) {
  nango::headers all;
  const auto& extra = asked.options.headers;
  all.reserve(asked.who.all_headers.size() + extra.size() + 2);
  for (const auto& field : asked.who.all_headers)
    if (!equal_names(field.name, "Accept") || find_header(extra, "Accept") == nullptr) all.push_back(field);
  for (const auto& field : extra) all.push_back(field);
  if (asked.body.empty()) return all;
  all.push_back({"Content-Type", std::string(asked.content_type)});
  const auto& repeated = asked.who.content_type_header;
  if (!repeated.empty() && find_header(all, repeated) == nullptr) all.push_back({repeated, all.back().value});
  return all;
}
inline std::string problem_of(const call& asked) {
  if (!asked.who.refused.empty()) return asked.who.refused;
  if (!is_token(asked.method) || !each_is(asked.method, [](char c) { return c < 'a' || c > 'z'; })) {
    return "the method must be a token in upper case, such as \"GET\"";
  }
  if (asked.method == "CONNECT") return "CONNECT makes tunnels; it is no request to the API";
  const auto& options = asked.options;
  if (options.timeout && options.timeout->count() <= 0) return "call_options::timeout must be more than 0";
  if (const auto problem = options.retry ? problem_of(*options.retry) : std::string(); !problem.empty()) {
    return "call_options::" + problem;
  }
  for (const auto& field : options.headers) {
    if (auto problem = problem_of_header(field, false); !problem.empty()) return problem;
    if (find_header(asked.who.headers, field.name) != nullptr) {
      return "the header " + field.name + " is the handle's own and cannot be given again";
    }
  }
  for (const auto& parameter : asked.parameters)
    if (parameter.name.empty()) return "a query parameter has no name";
  if (!asked.body.empty() && (asked.content_type.empty() || !is_field_value(asked.content_type))) {
    return "the content type of a body must not be empty, nor have control characters or a space at an end";
  }
  return problem_of_path(asked.path, !asked.who.path_prefix.empty());
}

// True if no number in the value is NaN or infinite; those would be sent as null.
inline bool is_finite(const json& value) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  return !value.is_structured() || std::all_of(value.begin(), value.end(), is_finite);
}
// Writes a body's JSON into `text`; returns why there is none.
template <class Body> std::string to_text(const Body& body, std::string& text) {
  bool finite = true;
  const auto problem = caught([&] {
    const json& value = body;  // no copy of what is JSON already
    text = value.dump();
    finite = is_finite(value);
  });
  if (!problem.empty()) return "the body cannot be sent as JSON: " + problem;
  return finite ? "" : "the body has a number that is not finite, which JSON cannot say";
}

// Whether a JSON number is an integer of that type; what is no number is left to json::get().
template <class Integer> bool fits(const json& number) {
  constexpr auto least = +(std::numeric_limits<Integer>::min)(), most = +(std::numeric_limits<Integer>::max)();
  const auto holds = [&](auto value) { return std::cmp_less_equal(least, value) && std::cmp_less_equal(value, most); };
  if (number.is_number_unsigned()) return holds(number.get<std::uint64_t>());
  if (number.is_number_integer()) return holds(number.get<std::int64_t>());
  if (!number.is_number()) return true;
  const auto value = number.get<double>();
  return value == std::floor(value) && value >= static_cast<double>(least) &&
         value < std::ldexp(1.0, std::numeric_limits<Integer>::digits);
}
// Runs json::get() into `to`; returns the reason if it fails.
template <class Value> std::string get_into(std::optional<Value>& to, json& from) {
  if constexpr (std::same_as<Value, json>) return to.emplace(std::move(from)), std::string();
  if constexpr (std::integral<Value> && !std::same_as<Value, bool>) {
    if (!fits<Value>(from)) return "the number does not fit the integer";
  }
  return caught([&] { to.emplace(from.get<Value>()); });
}
// Decodes a Value from JSON, which it may use up. Returns what does not fit, as the words that follow the value's
// place; empty on success. CRM resources specialize it.
template <class Value> struct decoder {
  static std::string read(json& from, std::optional<Value>& to) {
    auto failure = get_into(to, from);
    return failure.empty() ? failure : " is not of the type asked for: " + failure;
  }
};
// Passes the value to `fn`; false if `fn` asks to stop.
template <class Fn, class Value> bool hand_on(Fn& fn, Value&& value) {
  if constexpr (std::is_void_v<std::invoke_result_t<Fn&, Value&&>>) {
    std::invoke(fn, std::forward<Value>(value));
    return true;
  } else {
    return static_cast<bool>(std::invoke(fn, std::forward<Value>(value)));
  }
}

inline error too_large(int status, std::size_t most) {
  return {.code = errc::response_too_large,
          .http_status = status,
          .message = "the answer exceeds client_options::max_response_bytes (" + std::to_string(most) + ")"};
}

// True if the server is certainly done with a request: an answer came, or nothing was sent.
inline bool server_is_done(const result<http_response>& sent) noexcept {
  return sent || !sent.error().may_have_executed || sent.error().http_status != 0 ||
         sent.error().code == errc::response_too_large || sent.error().code == errc::malformed_response;
}

// The error of a call that ends before another attempt: the reason it stopped if that is cancellation or no attempt was
// made, else the last attempt's error.
inline error without_turn(error stopped, std::optional<error> so_far) {
  if (stopped.code != errc::canceled && so_far) return *std::move(so_far);
  stopped.attempts = so_far ? so_far->attempts : 0;
  stopped.may_have_executed = so_far && so_far->may_have_executed;
  return stopped;
}

// The answer that a call gets, and what the call needs of it.
struct arrival {
  bool keeps_body = false;       // the value is yet to be decoded, and an error about it quotes the body
  std::string_view list_name{};  // of for_each: the member that is the list
  response meaning{};            // without its JSON, if send() or for_each asked
  std::string body{};            // all of it, if send() or for_each asked
  std::string kept{};            // first bytes of a body that is yet to be decoded
  bool is_upstream = false;      // from another API
  void take(http_response answer) {
    meaning.http_status = answer.status;
    meaning.headers = std::move(answer.headers);
    body = std::move(answer.body);
  }
  // An error about it.
  error wrong(error e) const {
    e.http_status = meaning.http_status;
    e.attempts = meaning.attempts;
    e.body = kept;
    e.headers = meaning.headers;
    return e;
  }
};

// The state that a client's copies and handles share, and the path of a call.
template <class Backend, class Limiter> class client_core {
  using clock = typename Limiter::clock;
  using permit = typename Limiter::permit;
  using made = result<std::shared_ptr<client_core>>;

 public:
  client_core(client_options options, checked_options&& checked, Backend backend, Limiter limiter)
      : options_(std::move(options)),
        valid_(std::move(checked)),
        backend_(std::move(backend)),
        limiter_(std::move(limiter)) {}

  static made make(client_options options) {
    auto checked = check_options(options);
    if (!checked) return std::move(checked).error();
    auto backend = make_backend(options);
    if (!backend) checked->hidden.scrub(backend.error());
    if (!backend) return std::move(backend).error();
    auto limiter = make_limiter(options.rate);
    return std::make_shared<client_core>(std::move(options), *std::move(checked), *std::move(backend),
                                         std::move(limiter));
  }
  static made make(client_options options, Backend backend) {
    auto limiter = make_limiter(options.rate);
    return make(std::move(options), std::move(backend), std::move(limiter));
  }
  static made make(client_options options, Backend backend, Limiter limiter) {
    auto checked = check_options(options);
    if (!checked) return std::move(checked).error();
    return std::make_shared<client_core>(std::move(options), *std::move(checked), std::move(backend),
                                         std::move(limiter));
  }

  std::shared_ptr<const handle> make_handle(identity who) const {
    return std::make_shared<const handle>(options_, std::move(who));
  }
  std::shared_ptr<const handle> own_handle() const {
    const auto& token = options_.user_token;
    return make_handle(token.empty() ? identity{.limit_key = options_.limit_key} : user(token));
  }
  // These two need types that are incomplete where basic_client is declared.
  static identity user(std::string_view token) {
    identity who{.limit_key = std::string(token)};
    who.headers.push_back({user_header, who.limit_key});
    return who;
  }
  static const identity& identity_of(const handle& who) noexcept { return who; }
  milliseconds timeout_of(const call_options& options) const { return options.timeout.value_or(options_.timeout); }

  result<http_response> send(const call& asked) {
    arrival found;
    if (auto failure = ask(asked, &client_core::read_as_it_came, found)) return *std::move(failure);
    return http_response{found.meaning.http_status, std::move(found.meaning.headers), std::move(found.body)};
  }
  template <class Value> result<Value> get(const call& asked) {
    constexpr bool is_decoded = !std::is_void_v<Value> && !std::same_as<Value, json> && !std::same_as<Value, response>;
    arrival found{.keeps_body = is_decoded};
    if (auto failure = ask(asked, &client_core::read_meaning, found)) return *std::move(failure);
    if constexpr (is_decoded) {
      std::optional<Value> value;
      const auto problem = decoder<Value>::read(found.meaning.result, value);
      if (problem.empty()) return *std::move(value);
      return decode_failure(asked, found, "result" + problem);
    } else if constexpr (std::is_void_v<Value>) {
      return {};
    } else if constexpr (std::same_as<Value, response>) {
      return std::move(found.meaning);
    } else {
      return std::move(found.meaning.result);
    }
  }
  template <class Value, class Body> result<Value> get_json(call asked, const Body& body) {
    std::string text;
    if (auto problem = to_text(body, text); !problem.empty()) return leave(asked, refuse(std::move(problem)));
    asked.body = text;
    return get<Value>(asked);
  }

  // GETs a list and hands its elements on. `finish(json&)` then says what is wrong around the list.
  template <class Value, class Fn, class Finish>
  result<std::size_t> for_each(const call& asked, Fn& fn, const Finish& finish) {
    const auto& name = asked.options.list_member;
    arrival list{.keeps_body = true, .list_name = name ? std::string_view(*name) : options_.dialect.list_member};
    if (auto failure = ask(asked, &client_core::read_list, list)) return *std::move(failure);
    std::string problem;
    const auto take = [&](list_reader& reader) { return take_element<Value>(asked, list, fn, reader, problem); };
    list_reader reader(list.list_name, take);
    const bool whole = reader.read(list.body);
    if (!reader.stopped) {
      if (auto fault = fault_around(list, reader, whole)) return leave(asked, *std::move(fault));
      problem = problem_of_list(list.list_name, reader.around);
      if (problem.empty()) problem = finish(reader.around);
    }
    if (problem.empty()) return reader.index;
    return decode_failure(asked, list, std::move(problem));
  }

 private:
  // Puts what an answer means into an arrival, or says why it is an error.
  using reading = std::optional<error> (client_core::*)(http_response, arrival&) const;

  // False: enough, or the element is no Value, with the problem.
  template <class Value, class Fn>
  bool take_element(const call& asked, const arrival& list, Fn& fn, list_reader& reader, std::string& problem) const {
    using decoded = typename std::conditional_t<is_result<Value>, Value, result<Value>>::value_type;
    std::optional<decoded> value;
    problem = decoder<decoded>::read(reader.element, value);
    if (!problem.empty()) problem = std::string(list.list_name) + '[' + std::to_string(reader.index) + ']' + problem;
    if constexpr (!is_result<Value>) {
      return problem.empty() && hand_on(fn, *std::move(value));
    } else {
      if (problem.empty()) return hand_on(fn, Value(*std::move(value)));
      // One bad record does not carry all that came.
      const arrival about{.meaning = {.http_status = list.meaning.http_status, .attempts = list.meaning.attempts}};
      return hand_on(fn, Value(decode_failure(asked, about, std::exchange(problem, {}))));
    }
  }

  // Every error leaves through here: it gets the request's name and one-line texts, and loses its secrets.
  error leave(const call& asked, error e) const {
    const auto path = relative(asked.path.substr(0, asked.path.find_first_of("?#")));
    e.request = one_line(std::string(asked.method) + ' ' + asked.who.path_prefix + std::string(path));
    e.type = one_line(std::move(e.type));
    e.message = e.message.empty() ? to_string(e.code) : one_line(std::move(e.message));
    valid_.hidden.scrub(e);
    return e;
  }
  error decode_failure(const call& asked, const arrival& found, std::string problem) const {
    return leave(asked, found.wrong({.code = errc::decode_error, .message = std::move(problem)}));
  }

  std::optional<error> ask(const call& asked, reading read, arrival& found) {
    if (read != &client_core::read_as_it_came && asked.method == "HEAD") {
      return leave(asked, refuse("a HEAD answer has no body to read; use send(\"HEAD\", ...)"));
    }
    if (auto problem = problem_of(asked); !problem.empty()) return leave(asked, refuse(std::move(problem)));
    const auto& prefix = asked.who.path_prefix;
    prepared ready{.asked = asked};
    ready.path.append(prefix).append(prefix.empty() ? asked.path : relative(asked.path));
    ready.url = build_url(valid_.base, ready.path, asked.parameters);
    if (!asked.options.headers.empty() || !asked.body.empty()) ready.own_headers = merge_headers(asked);
    if (auto failure = run(ready, read, found)) return leave(asked, *std::move(failure));
    return {};
  }

  // The loop of a call. `so_far` sums up the attempts before the one at hand.
  std::optional<error> run(const prepared& ready, reading read, arrival& found) {
    const auto& asked = ready.asked;
    const auto& key = asked.who.limit_key;
    auto next = clock::now();  // when the next attempt may go
    const auto deadline = after(next, timeout_of(asked.options));
    std::optional<error> so_far;  // none yet: a success then makes and destroys none
    for (int number = 1;; ++number) {
      attempt seen{.method = asked.method, .path = ready.path, .number = number, .limit_key = key};
      auto given = take_turn(asked, next, deadline, seen);
      if (!given) return without_turn(name_limit(std::move(given).error(), asked), std::move(so_far));
      auto failure = attempt_once(ready, *std::move(given), deadline, read, found, seen);
      if (!failure) {
        found.meaning.attempts = number;
        seen.headers = found.meaning.headers;
        observe(seen);
        return {};
      }
      failure->attempts = number;
      failure->may_have_executed |= so_far && so_far->may_have_executed;
      so_far = std::move(failure);
      const auto now = clock::now();
      seen.outcome = so_far->code;
      seen.headers = so_far->headers;
      const bool limited = seen.http_status == 429 && seen.outcome == errc::rate_limited && !found.is_upstream;
      if (limited && !so_far->retry_after) so_far->retry_after = round_up(limited_span());
      seen.retry_in = delay_of(asked, *so_far, now, deadline);
      next = after(now, seen.retry_in.value_or(so_far->retry_after.value_or(milliseconds(0))));
      const bool in_line = limited && !key.empty();  // it waits there, before those that come later
      if (in_line) limiter_.hold(key, next);         // for everyone, not just for this call
      observe(seen);
      if (!seen.retry_in) return so_far;
      if (!in_line && sleep_until<clock>(next, asked.options.cancel) && clock::now() >= deadline) {
        return out_of_time(*std::move(so_far), asked);
      }
    }
  }

  // Says which limit passed.
  error name_limit(error e, const call& asked, bool of_attempt = false) const {
    if (e.code != errc::timed_out) return e;
    if (e.message.empty()) e.message = errc_info(e.code).text;
    const auto length = of_attempt ? options_.attempt_timeout : timeout_of(asked.options);
    e.message += asked.options.timeout && !of_attempt ? " (call_options::" : " (client_options::";
    e.message += (of_attempt ? "attempt_timeout, " : "timeout, ") + std::to_string(length.count()) + " ms)";
    return e;
  }
  // The deadline passed in backoff: a wait took longer than planned.
  error out_of_time(error so_far, const call& asked) const {
    const auto before = "; before that: " + describe(so_far);
    so_far.code = errc::timed_out;
    so_far.message = "the deadline passed while waiting for another attempt";
    so_far = name_limit(std::move(so_far), asked);
    so_far.message += before;
    return so_far;
  }

  // The delay before another attempt, if there is to be one.
  std::optional<milliseconds> delay_of(const call& asked, const error& failed, time_point now, time_point deadline) {
    const auto& policy = asked.options.retry ? *asked.options.retry : options_.retry;
    const auto method = asked.options.idempotent ? "PUT" : asked.method;
    const auto delay = next_delay(failed, method, failed.attempts, policy, next_jitter());
    return delay && after(now, *delay) < deadline ? delay : std::nullopt;
  }

  // Takes a permit, where the call is limited, and waits until `earliest`. A limiter that gives one earlier, because it
  // does not hold or not for so long, gets it back.
  result<std::optional<permit>> take_turn(const call& asked, time_point earliest, time_point deadline, attempt& seen) {
    const auto& cancel = asked.options.cancel;
    if (seen.limit_key.empty() && !cancel.canceled()) return std::optional<permit>();
    for (const auto began = clock::now(); !cancel.canceled(); sleep_until<clock>(earliest, cancel)) {
      auto given = limiter_.acquire(seen.limit_key, deadline, cancel);
      if (!given) return std::move(given).error();
      const auto now = clock::now();
      seen.waited = now - began;
      if (now >= earliest && now < deadline) return std::optional<permit>(*std::move(given));
      given->answered();
      if (now >= deadline) return unsent(errc::timed_out, "the deadline passed while waiting for the rate limiter");
    }
    return unsent(errc::canceled, seen.number > 1 ? "canceled before another attempt" : "canceled before it was sent");
  }

  // Sends once and reads the answer. The permit ends here, before anybody hears of the outcome.
  std::optional<error> attempt_once(const prepared& ready, std::optional<permit> given, time_point deadline,
                                    reading read, arrival& found, attempt& seen) {
    const auto& asked = ready.asked;
    const auto began = clock::now();
    const auto end_of_attempt = options_.attempt_timeout.count() > 0 ? after(began, options_.attempt_timeout) : never;
    auto sent =
        backend_.send({asked.method, ready.url, ready.headers(), asked.body, (std::min)(end_of_attempt, deadline),
                       options_.max_response_bytes, asked.options.cancel});
    seen.http_status = sent ? sent->status : sent.error().http_status;
    seen.elapsed = clock::now() - began;
    const auto is_upstream = options_.dialect.is_upstream;
    found.is_upstream = sent && is_upstream != nullptr && is_upstream(relative(ready.path), *sent);
    if (sent && !found.is_upstream) hold_for(ready, *sent);
    if (given && server_is_done(sent)) given->answered();
    given.reset();
    auto failure = sent ? read_answer(*std::move(sent), read, found)
                        : name_limit(std::move(sent).error(), asked, end_of_attempt < deadline);
    if (failure && failure->http_status == 0) failure->http_status = seen.http_status;
    return failure;
  }

  // Holds the key for as long as the dialect says.
  void hold_for(const prepared& ready, const http_response& answer) {
    const auto& key = ready.asked.who.limit_key;
    if (options_.dialect.hold_for == nullptr || key.empty()) return;
    const auto rest = options_.dialect.hold_for(relative(ready.path), answer);
    if (rest) limiter_.hold(key, after(clock::now(), *rest));
  }
  // How long a 429 without a Retry-After holds the key.
  nanoseconds limited_span() {
    if constexpr (requires { limiter_.rate().per; }) return limiter_.rate().per;  // maybe not that of the options
    return options_.rate.per;
  }

  std::optional<error> read_answer(http_response answer, reading read, arrival& found) const {
    if (answer.body.size() > options_.max_response_bytes) {
      auto e = too_large(answer.status, options_.max_response_bytes);
      keep_answer(e, answer);
      return e;
    }
    if (found.keeps_body) found.kept = first_bytes(answer.body);
    return (this->*read)(std::move(answer), found);
  }

  // The readings. send() returns every answer unchanged, except a 429.
  std::optional<error> read_as_it_came(http_response answer, arrival& found) const {
    if (answer.status != 429 || found.is_upstream) {
      found.take(std::move(answer));
      return {};
    }
    auto meaning = interpret(answer);  // in its own dialect, unless that takes a 429 for something else
    if (meaning || meaning.error().code != errc::rate_limited) meaning = parse_envelope(std::move(answer));
    return std::move(meaning).error();
  }
  std::optional<error> read_meaning(http_response answer, arrival& found) const {
    auto meaning = interpret(std::move(answer));
    if (!meaning) return std::move(meaning).error();
    found.meaning = *std::move(meaning);
    return {};
  }
  // The elements of a list may be handed on if what stands before the first is sound, or else all around the list.
  std::optional<error> read_list(http_response answer, arrival& list) const {
    list.take(std::move(answer));
    mend_surrogates(list.body);
    const auto take = [&](list_reader& reader) {
      reader.skips = true;
      return fault_around(list, reader, true).has_value();
    };
    list_reader reader(list.list_name, take);
    const bool whole = is_success(list.meaning.http_status) && reader.read(list.body);
    return reader.stopped ? std::nullopt : fault_around(list, reader, whole);
  }
  // The error in the members around a list, or in the whole text if it cannot be read as a list.
  std::optional<error> fault_around(const arrival& list, const list_reader& reader, bool whole) const {
    auto meaning =
        interpret({list.meaning.http_status, list.meaning.headers, whole ? reader.around.dump() : list.body});
    if (reader.repeated) meaning = error{.code = errc::malformed_response, .message = "the answer has its list twice"};
    if (meaning && !whole) meaning = error{.code = errc::decode_error, .message = problem_of_list(list.list_name, {})};
    if (meaning) return {};
    return list.wrong(std::move(meaning).error());
  }

  // Calls the dialect's parse, and adds the body and headers that a custom parse leaves out of the error for an error
  // answer.
  result<response> interpret(http_response answer) const {
    if (is_success(answer.status)) return options_.dialect.parse(std::move(answer));
    error kept;
    keep_answer(kept, answer);
    auto outcome = options_.dialect.parse(std::move(answer));
    if (!outcome && outcome.error().body.empty()) outcome.error().body = std::move(kept.body);
    if (!outcome && outcome.error().headers.empty()) outcome.error().headers = std::move(kept.headers);
    return outcome;
  }

  // The observer gets no secrets either.
  void observe(attempt seen) const {
    if (!options_.on_attempt) return;
    error told{.type = std::string(seen.path), .body = std::string(seen.limit_key)};
    told.headers.assign(seen.headers.begin(), seen.headers.end());
    valid_.hidden.scrub(told);
    seen.path = told.type;
    seen.limit_key = told.body;
    seen.headers = told.headers;
    options_.on_attempt(seen);
  }

  static Limiter make_limiter(const rate& limits) {
    if constexpr (std::constructible_from<Limiter, const rate&>)
      return Limiter(limits);
    else
      return Limiter();
  }
  // By its create() if it has one, else by its constructor.
  static result<Backend> make_backend(const client_options& options) {
    if constexpr (requires {
                    { Backend::create(options) } -> std::same_as<result<Backend>>;
                  }) {
      return Backend::create(options);
    } else {
#ifdef NANGO_DETAIL_EXCEPTIONS
      try {
        return Backend(options);
      } catch (const exception& e) {
        return e.error();
      }
#else
      return Backend(options);
#endif
    }
  }

  double next_jitter() noexcept {  // in [0, 1): splitmix64
    auto z = jitter_.fetch_add(0x9e3779b97f4a7c15U, std::memory_order_relaxed);
    z += process_number.load(std::memory_order_relaxed) * 0xd1342543de82ef95U;  // children of fork() go apart
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
  }

  const client_options options_;
  const checked_options valid_;
  Backend backend_;
  Limiter limiter_;
  std::atomic<std::uint64_t> jitter_{static_cast<std::uint64_t>(steady_clock::now().time_since_epoch().count())};
};

#ifdef NANGO_DETAIL_HTTPLIB
// --- Default backend ------------------------------------------------------------------------------------------------

constexpr bool is_from_0_11_4(std::string_view version) noexcept {  // #if cannot compare texts
  const auto number = version.starts_with("0.") ? version.substr(2, version.find('.', 2) - 2) : version;
  return number.size() > 2 || (number.size() == 2 && version >= "0.11.4");
}
static_assert(is_from_0_11_4(CPPHTTPLIB_VERSION),
              "nango.hpp needs cpp-httplib 0.11.4 or later, or NANGO_NO_HTTPLIB and a backend of your own");

// A null pointer means out of memory: throws std::bad_alloc.
template <class Pointer> Pointer allocated(Pointer made) {
  if (!made) raise_as<std::bad_alloc>(std::bad_alloc());
  return made;
}

// Platform differences: sockets and their errors, SIGPIPE, and the system's trusted CAs.
#ifdef _WIN32
inline constexpr int interrupted = WSAEINTR, would_block = WSAEWOULDBLOCK, connecting = WSAEWOULDBLOCK;
inline constexpr int refused = WSAECONNREFUSED, no_network = WSAENETUNREACH, no_host = WSAEHOSTUNREACH;
inline constexpr int no_handle = WSAEMFILE, no_system_handle = WSAENOBUFS, no_port = WSAEADDRNOTAVAIL;
using io_size = int;   // for send() and recv()
using nfds_t = ULONG;  // for poll()
inline int last_error() noexcept { return ::WSAGetLastError(); }
inline std::string lookup_message(int code) { return std::system_category().message(code); }
inline socket_t open_socket(int family) noexcept {
  const auto made = ::WSASocketW(family, SOCK_STREAM, 0, nullptr, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
  u_long is_on = 1;
  if (made != INVALID_SOCKET) ::ioctlsocket(made, static_cast<long>(FIONBIO), &is_on);
  return made;
}
inline void close_socket(socket_t socket) noexcept { ::closesocket(socket); }
// Before Windows 10 version 2004, WSAPoll does not report a failed connect, which then times out.
inline int poll(pollfd* sockets, nfds_t count, int patience) noexcept { return ::WSAPoll(sockets, count, patience); }

// False for a root CA that Windows restricts to other uses, such as code signing.
inline bool is_root_of_servers(const CERT_CONTEXT* root) {
  std::array<CERT_ENHKEY_USAGE, 256> uses{};  // the first one is filled in; the others are room for the names
  DWORD size = sizeof(uses);
  if (!::CertGetEnhancedKeyUsage(root, 0, uses.data(), &size)) return false;
  const std::span<LPSTR> names(uses.front().rgpszUsageIdentifier, uses.front().cUsageIdentifier);
  if (names.empty()) return ::GetLastError() == static_cast<DWORD>(CRYPT_E_NOT_FOUND);  // good for all
  return std::find(names.begin(), names.end(), std::string_view(szOID_PKIX_KP_SERVER_AUTH)) != names.end();
}
// OpenSSL asks for each certificate of a chain.
inline int refuse_disallowed(int is_sound, X509_STORE_CTX* chain) {
  if (is_sound == 0) return 0;
  std::array<unsigned char, 20> hash{};
  X509_digest(X509_STORE_CTX_get_current_cert(chain), EVP_sha1(), hash.data(), nullptr);
  const CRYPT_HASH_BLOB wanted{static_cast<DWORD>(hash.size()), hash.data()};
  auto* const disallowed = ::CertOpenSystemStoreW(0, L"Disallowed");
  if (disallowed == nullptr) return 0;
  const auto* found = ::CertFindCertificateInStore(disallowed, X509_ASN_ENCODING, 0, CERT_FIND_HASH, &wanted, nullptr);
  if (found != nullptr) X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REJECTED);
  ::CertFreeCertificateContext(found);
  ::CertCloseStore(disallowed, 0);
  return found == nullptr ? 1 : 0;
}
inline bool trust_system(SSL_CTX* context) {
  auto* const roots = ::CertOpenSystemStoreW(0, L"ROOT");
  const CERT_CONTEXT* each = nullptr;
  while (roots != nullptr && (each = ::CertEnumCertificatesInStore(roots, each)) != nullptr) {
    if (!is_root_of_servers(each)) continue;
    const unsigned char* bytes = each->pbCertEncoded;
    auto* const root = d2i_X509(nullptr, &bytes, static_cast<long>(each->cbCertEncoded));
    if (root != nullptr) X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root);
    X509_free(root);
  }
  ::CertCloseStore(roots, 0);
  ERR_clear_error();
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, refuse_disallowed);
  return true;
}
#else
inline constexpr int interrupted = EINTR, would_block = EAGAIN, connecting = EINPROGRESS;
inline constexpr int refused = ECONNREFUSED, no_network = ENETUNREACH, no_host = EHOSTUNREACH;
inline constexpr int no_handle = EMFILE, no_system_handle = ENFILE, no_port = EADDRNOTAVAIL;
using io_size = std::size_t;
inline int last_error() noexcept { return errno; }
inline std::string lookup_message(int code) { return ::gai_strerror(code); }
inline socket_t open_socket(int family) noexcept {
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
  return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
  const auto made = ::socket(family, SOCK_STREAM, 0);
  if (made == INVALID_SOCKET) return made;
  ::fcntl(made, F_SETFL, O_NONBLOCK);
  ::fcntl(made, F_SETFD, FD_CLOEXEC);
  return made;
#endif
}
inline void close_socket(socket_t socket) noexcept { ::close(socket); }
inline bool trust_system(SSL_CTX* context) { return SSL_CTX_set_default_verify_paths(context) >= 0; }
#endif
#ifdef MSG_NOSIGNAL
inline constexpr int send_flags = MSG_NOSIGNAL;
#else
inline constexpr int send_flags = 0;  // SO_NOSIGPIPE, or a system without SIGPIPE
#endif
inline bool must_wait() noexcept { return last_error() == would_block || last_error() == interrupted; }

inline void set_option(socket_t socket, int level, int option, int value) noexcept {
  ::setsockopt(socket, level, option, reinterpret_cast<const char*>(&value), sizeof(value));
}
// A socket that never blocks and is not inherited by other programs. INVALID_SOCKET: last_error() says why.
inline socket_t make_socket(int family) noexcept {
  const auto made = open_socket(family);
  if (made == INVALID_SOCKET) return made;
  set_option(made, IPPROTO_TCP, TCP_NODELAY, 1);   // or a POST takes 40 ms more
  set_option(made, SOL_SOCKET, SO_KEEPALIVE, 1);   // probes show whether a silent peer is still there
#if defined(TCP_KEEPIDLE) && defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
  set_option(made, IPPROTO_TCP, TCP_KEEPIDLE, 5);  // seconds
  set_option(made, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(made, IPPROTO_TCP, TCP_KEEPCNT, 3);
#endif
#ifdef SO_NOSIGPIPE
  set_option(made, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
  return made;
}

// True if the peer's host sends neither ACKs nor replies to keep-alive probes. A slow peer, or one that does not read,
// still sends ACKs. Linux only (TCP_INFO).
inline bool is_peer_gone([[maybe_unused]] socket_t socket, [[maybe_unused]] nanoseconds since_last_write) noexcept {
#ifdef __linux__
  constexpr milliseconds patience(5'000);
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  const bool is_unanswered = (info.tcpi_unacked > 0 && info.tcpi_retransmits > 0) || info.tcpi_probes >= 2;
  return is_unanswered && milliseconds(info.tcpi_last_ack_recv) >= patience && since_last_write >= patience;
#else
  return false;
#endif
}

// The addresses in the order of RFC 8305: the resolver's, with the two families by turns.
inline std::vector<const addrinfo*> interleave(const addrinfo* list) {
  std::vector<const addrinfo*> all, others;
  for (const auto* each = list; each != nullptr; each = each->ai_next)
    (each->ai_family == list->ai_family ? all : others).push_back(each);
  for (std::size_t i = 0; i < others.size(); ++i)
    all.insert(all.begin() + static_cast<std::ptrdiff_t>((std::min)(2 * i + 1, all.size())), others[i]);
  return all;
}

inline std::string describe_connect_failure(int code) {
  if (code == refused) return "connection refused";
  if (code == no_network || code == no_host) return "host or network unreachable";
  if (code == no_handle || code == no_system_handle) return "too many open files on this side";
  return code == no_port ? "no free port on this side" : std::system_category().message(code);
}
// Without a free descriptor getaddrinfo blames the name, so this tests for one first.
inline std::string describe_lookup_failure(int code) {
  const auto probe = make_socket(AF_INET);
  if (probe == INVALID_SOCKET) return describe_connect_failure(last_error());
  close_socket(probe);
  return code == EAI_NONAME ? "the name is unknown" : "the name service failed: " + lookup_message(code);
}

// Uses httplib's client as a codec, with our stream as its socket. `override` turns a signature that a release changes
// into a compile error, never into a connection of httplib's own.
template <class Client, class... StartTime> class codec_client : public Client {
 public:
  codec_client() : Client("localhost", 80) {
    if constexpr (requires(Client& client) { client.set_payload_max_length(std::size_t{}); }) {
      this->set_payload_max_length((std::numeric_limits<std::size_t>::max)());  // 0.31 stops at 100 MB
    }
  }
  httplib::Stream* stream = nullptr;  // what a request is written to and its answer read from

 private:
  bool create_and_connect_socket(typename Client::Socket&, httplib::Error&) override { return true; }
  bool process_socket(const typename Client::Socket&, StartTime...,
                      std::function<bool(httplib::Stream&)> use) override {
    return use(*stream);
  }
};
template <class Stream> inline constexpr bool has_duration = requires(const Stream& stream) { stream.duration(); };
using codec = std::conditional_t<has_duration<httplib::Stream>, codec_client<httplib::ClientImpl, time_point>,
                                 codec_client<httplib::ClientImpl>>;  // the latter up to 0.18

// Where a pool's connections lead, and how.
struct route {
  endpoint base;
  proxy_address proxy;
  milliseconds connect_timeout;
  SSL_CTX* tls = nullptr;
};

// An answer as it comes in, and how much of its heads is still allowed.
struct incoming : http_response {
  bool is_http_1_0 = false;
  std::size_t head_bytes_left = std::size_t{64} << 10;
};

// Moves as much as there is space for from the front of a text. Returns how much that is.
inline std::size_t take(std::string_view& text, char* to, std::size_t space) {
  const auto size = text.copy(to, space);
  text.remove_prefix(size);
  return size;
}

// One connection: socket, tunnel and TLS. Every wait obeys the current request's deadline and cancel token. A
// connection never moves, because OpenSSL points to it. Closing it sends nothing, so a child of fork() may close it
// too.
class connection {
 public:
  explicit connection(const route& r) : target(r) {}
  ~connection() {
    SSL_free(tls_);
    for (const auto& each : sockets_) close_socket(each.fd);
  }

  codec http{};
  const route& target;
  const char* phase = "";  // of the request at hand, for messages
  time_point usable_until{};
  const time_point born = steady_clock::now();

  // Takes the limits of the next request, and opens the connection if need be; false: the exchange ended.
  bool begin(const http_request& request) {
    deadline_ = request.deadline;
    cancel_ = request.cancel;
    failure_ = {.may_have_executed = false};
    phase = "connecting";
    return !is_over(steady_clock::now()) && (!sockets_.empty() || open());
  }

  bool has_ended() const noexcept { return failure_.code != errc{}; }
  // The error that ended the exchange.
  const error& failure() const noexcept { return failure_; }
  // Ends the exchange; always false. What ended it first counts.
  bool end(errc code, std::string problem) {
    if (has_ended()) return false;
    failure_.code = code;
    failure_.message = std::move(problem);
    return false;
  }
  bool refuse(const char* problem) { return end(errc::malformed_response, problem); }
  // True if the peer ended its stream in good order.
  bool is_closed() const noexcept { return last_ssl_error_ == SSL_ERROR_ZERO_RETURN; }
  // Clears connection_failed: the body ended with the stream, or earlier input may still be readable.
  void forgive_end() noexcept {
    if (failure_.code == errc::connection_failed) failure_.code = {};
  }

  bool has_input() const noexcept { return !unread_.empty(); }
  // True if nothing unread is known, so that the next byte starts the next answer.
  bool is_quiet() const noexcept {
    char next = 0;
    const bool has_unread = has_input() || (tls_ != nullptr && SSL_has_pending(tls_) == 1);
    return !has_unread && receive_some(&next, 1, MSG_PEEK) < 0 && must_wait();
  }

  // Writes some of the data and removes it from the front. Where the socket would block, waits until it does not or
  // there is input, which it receives; false: the exchange ended.
  bool write(std::string_view& data) {
    if (is_over(steady_clock::now())) return false;
    const auto size = static_cast<int>((std::min)(data.size(), std::size_t{1} << 30));
    const int done = tls_ != nullptr ? SSL_write(tls_, data.data(), size) : send_some(data.data(), size);
    const int written = outcome_of(done, SSL_ERROR_WANT_WRITE);
    if (written == 0) return (has_input() || wait(static_cast<short>(wanted() | POLLIN))) && fill(false);
    if (written < 0) return false;
    failure_.may_have_executed = true;  // a part of a TLS record tells the peer nothing
    data.remove_prefix(static_cast<std::size_t>(written));
    return true;
  }
  // Receives more into the buffer, or only what is there already; false: it ended.
  bool fill(bool may_wait) {
    std::char_traits<char>::move(buffer_.get(), unread_.data(), unread_.size());
    unread_ = {buffer_.get(), unread_.size()};
    auto* const to = buffer_.get() + unread_.size();
    const int space = buffer_size - static_cast<int>(unread_.size());
    while (!is_over(steady_clock::now())) {
      const int done = tls_ != nullptr ? SSL_read(tls_, to, space) : receive_some(to, space);
      const int got = outcome_of(done, SSL_ERROR_WANT_READ);
      if (got > 0) unread_ = {buffer_.get(), unread_.size() + static_cast<std::size_t>(got)};
      if (got != 0 || !may_wait) return got >= 0;
      if (!wait(wanted())) break;
    }
    return false;
  }
  // Reads at least one byte; 0: it ended.
  std::size_t read(char* to, std::size_t size) { return has_input() || fill(true) ? take(unread_, to, size) : 0; }
  // A line of at most so many bytes, without its CRLF; it lives until the next read.
  bool read_line(std::string_view& line, std::size_t most) {
    auto end = unread_.find('\n');
    while (end == std::string_view::npos && unread_.size() < most) {
      const auto seen = unread_.size();
      if (!fill(true)) return false;
      end = unread_.find('\n', seen);
    }
    if (end >= most) return refuse("the answer has a line that is too long");
    line = unread_.substr(0, end + 1);
    unread_.remove_prefix(line.size());
    if (!line.ends_with("\r\n")) return refuse("the answer has a line that ends in a bare LF");
    line.remove_suffix(2);
    return true;
  }
  // Reads the fields of a head, or of a trailer, to their empty line.
  bool read_fields(incoming& head) {
    for (std::string_view line; read_line(line, head.head_bytes_left);) {
      head.head_bytes_left -= line.size() + 2;
      if (line.empty()) return true;
      if (head.headers.size() == 1000) return refuse("the answer has more than 1,000 headers");
      const auto name = line.substr(0, line.find(':'));
      const auto value = trimmed(line.substr((std::min)(name.size() + 1, line.size())));
      const auto is_sound = [](char c) { return !is_control(c) || c == '\t'; };
      if (name.size() == line.size() || !is_token(name) || !each_is(value, is_sound)) {
        return refuse("the answer has a malformed header");
      }
      head.headers.push_back({std::string(name), std::string(value)});
    }
    return false;
  }
  // Reads one head, an interim one or the final one. Its status is set once all of it is read and sound.
  bool read_head(incoming& head) {
    std::string_view line;
    if (!read_line(line, head.head_bytes_left)) return false;
    head.head_bytes_left -= line.size() + 2;
    // HTTP/1.x, a space, three digits, and a reason after another space
    const bool is_sound = line.size() >= 12 && line.starts_with("HTTP/1.") && is_digit(line[7]) && line[8] == ' ' &&
                          each_is(line.substr(9, 3), is_digit) && (line.size() == 12 || line[12] == ' ') &&
                          !is_one_of('\0', line);
    if (!is_sound) return refuse("the answer's status line is not one of HTTP/1.1");
    const auto status = static_cast<int>(parse_number(line.substr(9, 3)).value_or(0));
    head.is_http_1_0 = line[7] == '0';
    head.headers.clear();
    if (!read_fields(head)) return false;
    if (status == 101) return refuse("the answer switches protocols, which was not asked for");
    if (status < 100 || status > 599) return refuse("the answer's HTTP status is out of range");
    head.status = status;
    return true;
  }

  // How OpenSSL reaches a connection. Never freed: a call may come when main() is over.
  static const BIO_METHOD* bio_method() {
    static BIO_METHOD* const method = [] {
      auto* made = allocated(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nango"));
      BIO_meth_set_read(made, [](BIO* bio, char* to, int size) {
        return transferred(bio, static_cast<connection*>(BIO_get_data(bio))->receive_some(to, size), BIO_FLAGS_READ);
      });
      BIO_meth_set_write(made, [](BIO* bio, const char* data, int size) {
        return transferred(bio, static_cast<connection*>(BIO_get_data(bio))->send_some(data, size), BIO_FLAGS_WRITE);
      });
      BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
      return made;
    }();
    return method;
  }

 private:
  static constexpr int buffer_size = 80 << 10;  // the longest line, and a TLS record

  // Connects, asks the proxy for a tunnel, shakes hands.
  bool open() {
    const auto deadline =
        std::exchange(deadline_, (std::min)(deadline_, after(steady_clock::now(), target.connect_timeout)));
    const bool is_connected = target.proxy.port == 0 ? connect(target.base.host, target.base.port) : tunnel();
    deadline_ = deadline;
    if (failure_.code == errc::timed_out && steady_clock::now() < deadline) {
      failure_.code = errc::connection_failed;
      failure_.message = "no connection to " + peer_ + " within client_options::connect_timeout (" +
                         std::to_string(target.connect_timeout.count()) + " ms)";
    }
    peer_ = authority_of(target.base.host, target.base.port);  // whether through a proxy or not
    return is_connected && (!target.base.tls || shake_hands());
  }
  socket_t socket() const noexcept { return sockets_.front().fd; }
  void drop(std::size_t i) noexcept {
    close_socket(sockets_[i].fd);
    sockets_.erase(sockets_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  // True once the request is over.
  bool is_over(time_point now) {
    if (cancel_.canceled()) end(errc::canceled, std::string("canceled while ") + phase);
    if (now >= deadline_) end(errc::timed_out, std::string("the deadline passed while ") + phase);
    return has_ended();
  }
  bool lose(const char* how) { return end(errc::connection_failed, "the connection to " + peer_ + how + phase); }
  // Replaces an I/O error with the reason that opening failed; keeps timed_out and canceled.
  bool fail_to_open(errc code, const std::string& problem) {
    if (failure_.code != errc::timed_out && failure_.code != errc::canceled) failure_.code = {};
    return end(code, problem);
  }
  // The one place that waits: until a socket is ready (true), `until` has come, or the request is over.
  bool poll_until(time_point until) {
    for (;;) {
      const auto now = steady_clock::now();
      if (is_over(now) || now >= until) return false;
      const auto wake = (std::min)({until, deadline_, next_look(now, cancel_), after(now, an_hour)});
      const auto patience = static_cast<int>(round_up(wake - now).count());
      const auto ready = poll(sockets_.data(), static_cast<nfds_t>(sockets_.size()), patience);
      if (ready > 0) return true;
      if (ready < 0 && last_error() != interrupted) return lose(" broke while ");
    }
  }
  bool wait(short events) {
    sockets_.front().events = events;
    while (!poll_until(after(steady_clock::now(), milliseconds(5'000)))) {
      if (has_ended()) return false;
      if (is_peer_gone(socket(), steady_clock::now() - last_write_)) return lose(" is dead, found while ");
    }
    return true;
  }

  int send_some(const char* data, int size) noexcept {
    const auto done = ::send(socket(), data, static_cast<io_size>(size), send_flags);
    if (done > 0) last_write_ = steady_clock::now();
    return static_cast<int>(done);
  }
  int receive_some(char* to, int size, int flags = 0) const noexcept {
    return static_cast<int>(::recv(socket(), to, static_cast<io_size>(size), flags));
  }
  // What the socket did, in OpenSSL's terms.
  static int transferred(BIO* bio, int done, int retry_flag) noexcept {
    BIO_clear_retry_flags(bio);
    if (done < 0 && must_wait()) BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
    return done;
  }
  short wanted() const noexcept { return last_ssl_error_ == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN; }
  // What became of an operation: the bytes; 0: it waits for what is wanted(); -1: it ended.
  int outcome_of(int done, int waiting) {
    if (done > 0) return done;
    const int plain = done == 0 ? SSL_ERROR_ZERO_RETURN : must_wait() ? waiting : SSL_ERROR_SYSCALL;
    last_ssl_error_ = tls_ != nullptr ? SSL_get_error(tls_, done) : plain;
    if (last_ssl_error_ == SSL_ERROR_WANT_READ || last_ssl_error_ == SSL_ERROR_WANT_WRITE) return 0;
    lose(" broke while ");
    return -1;
  }

  bool connect(const std::string& host, int port) {
    peer_ = authority_of(host, port);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (code == EAI_MEMORY) allocated(found);
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    const auto problem = code != 0 ? describe_lookup_failure(code) : race(interleave(found));
    return problem.empty() || fail_to_open(errc::connection_failed, purpose_ + peer_ + ": " + problem);
  }
  // Tries the next address 250 ms after the one before, or when that fails (RFC 8305), so a silent address delays no
  // other. The first to connect wins. Returns why the last one failed; empty on success.
  std::string race(const std::vector<const addrinfo*>& addresses) {
    sockets_.reserve(addresses.size());
    int code = 0;
    for (auto next = addresses.begin(); next != addresses.end() || !sockets_.empty();) {
      if (next != addresses.end()) {
        const auto& address = **next++;
        const auto made = make_socket(address.ai_family);
        const auto size = static_cast<socklen_t>(address.ai_addrlen);
        const bool is_done = made != INVALID_SOCKET && ::connect(made, address.ai_addr, size) == 0;
        if (const int failure = last_error(); !is_done && failure != connecting) {
          code = failure;
          if (made != INVALID_SOCKET) close_socket(made);
          continue;
        }
        sockets_.push_back({made, POLLOUT, 0});
      }
      const auto until = next != addresses.end() ? after(steady_clock::now(), milliseconds(250)) : never;
      if (!poll_until(until) && has_ended()) return failure_.message;
      for (auto i = sockets_.size(); i-- > 0;) {
        if (sockets_[i].revents == 0) continue;
        socklen_t size = sizeof(code);
        ::getsockopt(sockets_[i].fd, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&code), &size);
        if (code == 0) {
          std::swap(sockets_[i], sockets_.front());
          while (sockets_.size() > 1) drop(1);
          return {};
        }
        drop(i);
      }
    }
    return describe_connect_failure(code);
  }
  bool tunnel() {
    const auto& proxy = target.proxy;
    purpose_ = "no tunnel through the proxy ";
    if (!connect(proxy.host, proxy.port)) return false;
    const auto origin = authority_of(target.base.host, target.base.port);
    const auto [name, value] = httplib::make_basic_authentication_header(proxy.user, proxy.password, true);
    const auto user = proxy.user.empty() ? "" : name + ": " + value + "\r\n";
    const auto request = "CONNECT " + origin + " HTTP/1.1\r\nHost: " + origin + "\r\n" + user + "\r\n";
    send_some(request.data(), static_cast<int>(request.size()));  // all of it fits: it is the first
    incoming head;
    while (head.status < 200 && read_head(head)) continue;
    if (is_success(head.status) && !has_input()) return true;
    std::string why = head.status >= 200 ? " (HTTP " + std::to_string(head.status) + ")" : "";
    if (is_success(head.status)) why = " (more than a head came, which would be read as the API's answer)";
    return fail_to_open(errc::connection_failed, purpose_ + peer_ + why);
  }

  bool shake_hands() {
    const auto& host = target.base.host;
    tls_ = allocated(SSL_new(target.tls));
    auto* bio = allocated(BIO_new(bio_method()));
    BIO_set_data(bio, this);
    SSL_set_bio(tls_, bio, bio);
    auto* const name = const_cast<char*>(X509_VERIFY_PARAM_get0_host(SSL_get0_param(tls_), 0));  // null: an address
    if (name != nullptr) SSL_ctrl(tls_, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name);
    while (outcome_of(SSL_connect(tls_), 0) == 0 && wait(wanted())) continue;
    if (const long verdict = SSL_get_verify_result(tls_); verdict != X509_V_OK) {
      const std::string why = X509_verify_cert_error_string(verdict);
      return fail_to_open(errc::tls_failed, "the certificate of " + host + " is not trusted: " + why);
    }
    // OpenSSL may be configured to allow anonymous ciphers; the verdict is then X509_V_OK.
    const bool is_anonymous = !has_ended() && SSL_get0_peer_certificate(tls_) == nullptr;
    if (last_ssl_error_ != SSL_ERROR_SSL && !is_anonymous) return !has_ended();
    const char* reason = is_anonymous ? "the peer shows no certificate" : ERR_reason_error_string(ERR_peek_error());
    return fail_to_open(errc::tls_failed, "the TLS handshake with " + host +
                                              " was refused: " + (reason != nullptr ? reason : "unknown reason"));
  }

  std::vector<pollfd> sockets_{};  // one; several while addresses are tried
  SSL* tls_ = nullptr;
  std::string purpose_ = "cannot connect to ", peer_{};  // for messages; the peer is host and port

  time_point deadline_{}, last_write_{};
  cancel_token cancel_{};
  error failure_{};                      // its code: errc{} while the exchange continues
  int last_ssl_error_ = SSL_ERROR_NONE;  // SSL_get_error() of the last operation

  const std::unique_ptr<char[]> buffer_{new char[buffer_size]};
  std::string_view unread_{};  // what was received and not yet read, in the buffer
};

#ifdef CPPHTTPLIB_ZLIB_SUPPORT
inline constexpr bool reads_gzip = true;
// True for a whole stream. Stops as soon as the output is longer than `most`. httplib accepts a truncated stream, so
// the length at the end of the stream (RFC 1952) is compared with the output's. A repeated member is not detected.
inline bool gunzip(std::string_view body, std::string& plain, std::size_t most) {
  httplib::detail::gzip_decompressor reader;
  const auto keep = [&](const char* data, std::size_t size) { return plain.append(data, size).size() <= most; };
  if (body.size() < 18 || !reader.is_valid() || !reader.decompress(body.data(), body.size(), keep)) return false;
  std::string length;
  for (const int shift : {0, 8, 16, 24}) length += static_cast<char>(plain.size() >> shift);  // the lowest byte first
  return body.ends_with(length);
}
#else
inline constexpr bool reads_gzip = false;
inline bool gunzip(std::string_view, std::string&, std::size_t) { return false; }
#endif

// One request and its answer, as the stream that httplib writes and reads. httplib's own request is dropped and the
// real one is sent; httplib reads a short fixed head, then the body without its framing.
// Stream's virtual functions differ between releases, so none of them is marked `override`.
class exchange final : public httplib::Stream {
 public:
  exchange(connection& on, const http_request& request) : on_(on), request_(request) {}

  nanoseconds idle_limit = std::chrono::seconds(50);  // of the connection; the hosted server closes after 61 s

  result<http_response> run() {
    on_.http.stream = this;
    on_.http.Get("/", [this](const char* data, std::size_t size) {
      if (size > room()) return refuse_size();
      answer_.body.append(data, size);
      return true;
    });
    if (!is_complete_) on_.refuse("httplib gave the answer up");  // where nothing else ended it
    if (!on_.has_ended() && decode()) return http_response(std::move(answer_));
    auto failure = on_.failure();
    if (is_final()) {
      failure.http_status = answer_.status;
      keep_answer(failure, answer_);
    }
    return failure;
  }
  // The answer ended where the next one begins.
  bool ended_cleanly() const noexcept { return is_complete_ && !closes_ && !on_.has_ended(); }

 private:
  ssize_t write(const char*, std::size_t size) {
    if (std::exchange(is_written_, true)) return -1;  // a release that begins a second request sends nothing
    on_.phase = "sending the request";
    const auto start = request_.body.substr(0, std::size_t{16} << 10);  // goes out with the head
    const bool is_answered = send(request_head(start)) && send(request_.body.substr(start.size())) && receive_head();
    return is_answered ? static_cast<ssize_t>(size) : -1;
  }
  std::string request_head(std::string_view start_of_body) const {
    std::string head;
    head.reserve(request_.url.size() + 512 + start_of_body.size());
    const auto line = [&](std::string_view name, std::string_view value) {
      head.append(name).append(": ").append(value).append("\r\n");
    };
    const auto& method = request_.method;
    head.append(method).append(" ").append(request_.url.substr(on_.target.base.origin.size())).append(" HTTP/1.1\r\n");
    line("Host", on_.target.base.authority);
    if (!is_encoding_asked_) line("Accept-Encoding", reads_gzip && method != "HEAD" ? "gzip" : "identity");
    for (const auto& [name, value] : request_.headers) line(name, value);
    const bool has_length = !request_.body.empty() || method == "POST" || method == "PUT" || method == "PATCH";
    if (has_length) line("Content-Length", std::to_string(request_.body.size()));
    return head.append("\r\n").append(start_of_body);
  }
  // Stops when an answer arrives, or when the peer closes, because it may have answered first.
  bool send(std::string_view rest) {
    while (!rest.empty() && !closes_) {
      closes_ = !on_.write(rest) || (on_.has_input() && !read_head()) || is_final();
      on_.forgive_end();
    }
    return !on_.has_ended();
  }

  bool is_final() const noexcept { return answer_.status >= 200; }
  // Reads one head, an interim one or the final one.
  bool read_head() {
    on_.phase = "waiting for the answer";
    if (!on_.has_input() && !on_.fill(true)) return false;
    on_.phase = "reading the answer";
    return on_.read_head(answer_);
  }
  bool receive_head() {
    while (!is_final() && read_head()) continue;
    if (!is_final()) return false;
    for (const auto& [name, value] : answer_.headers) {
      if (equal_names(name, "Content-Length")) {
        const auto length = parse_number(value);
        is_ambiguous_ |= !length || (length_ && length_ != length);
        length_ = length;
      } else if (equal_names(name, "Transfer-Encoding")) {
        is_ambiguous_ |= is_chunked_ || !equal_names(value, "chunked");
        is_chunked_ = true;
      } else if (equal_names(name, "Content-Encoding") && !is_encoding_asked_) {
        if (value.empty() || equal_names(value, "identity")) continue;
        is_undecodable_ |= !reads_gzip || is_gzip_ || !(equal_names(value, "gzip") || equal_names(value, "x-gzip"));
        is_gzip_ = true;
      } else if (equal_names(name, "Connection") || equal_names(name, "Keep-Alive")) {
        read_persistence(value);
      }
    }
    return frame_body();
  }
  // `close`, or `timeout=5, max=100`.
  void read_persistence(std::string_view list) {
    while (!list.empty()) {
      const auto item = trimmed(take_item(list, ','));
      closes_ |= equal_names(item, "close");
      const auto seconds = equal_names(item.substr(0, 8), "timeout=") ? parse_number(item.substr(8)) : std::nullopt;
      if (!seconds || *seconds > 50) continue;
      const milliseconds granted(1000 * *seconds);
      idle_limit = granted - (std::min)(granted / 2, milliseconds(1000));  // it counts from an earlier moment
    }
  }
  // Decides where the body ends.
  bool frame_body() {
    const bool has_body = request_.method != "HEAD" && answer_.status != 204 && answer_.status != 304;
    // A peer may send a body all the same where there is none.
    const bool is_framed = has_body ? is_chunked_ || length_ : !is_chunked_ && length_.value_or(0) == 0;
    closes_ |= !is_framed || answer_.is_http_1_0;
    is_ambiguous_ |= is_chunked_ && (length_ || answer_.is_http_1_0);
    is_complete_ = !has_body || length_ == 0U;
    if (!has_body) return true;
    if (is_ambiguous_) return on_.refuse("the answer's length is not clear");
    if (is_undecodable_ && !is_complete_ && is_success(answer_.status)) return refuse_encoding();
    if (length_ && *length_ > room()) return refuse_size();
    // 64 MiB at most: Content-Length may lie.
    answer_.body.reserve(static_cast<std::size_t>((std::min)(length_.value_or(0), std::uint64_t{64} << 20)));
    left_ = is_chunked_ ? 0 : length_.value_or((std::numeric_limits<std::uint64_t>::max)());
    return true;
  }

  ssize_t read(char* to, std::size_t size) {
    if (on_.has_ended()) return -1;
    if (!head_for_httplib_.empty()) return static_cast<ssize_t>(take(head_for_httplib_, to, size));
    if (is_chunked_ && left_ == 0 && !is_complete_ && !next_chunk()) return -1;
    return is_complete_ ? 0 : read_body(to, static_cast<std::size_t>((std::min)(left_, std::uint64_t{size})));
  }
  ssize_t read_body(char* to, std::size_t size) {
    const auto got = on_.read(to, size);
    if (got == 0) {
      // Where only the connection's end ends the body, a close_notify (without TLS: a FIN) says that it is whole.
      is_complete_ = !is_chunked_ && !length_ && on_.is_closed();
      if (is_complete_) on_.forgive_end();
      return is_complete_ ? 0 : -1;
    }
    left_ -= got;
    std::string_view line;
    if (left_ == 0 && is_chunked_ && !on_.read_line(line, 2)) return -1;  // a chunk ends with an empty line
    is_complete_ = left_ == 0 && !is_chunked_;
    return static_cast<ssize_t>(got);
  }
  bool next_chunk() {
    std::string_view line;
    if (!on_.read_line(line, 1024)) return false;
    const auto hex = line.substr(0, line.find_first_of("; \t"));
    const auto [end, failure] = std::from_chars(hex.data(), hex.data() + hex.size(), left_, 16);
    if (failure != std::errc() || end != hex.data() + hex.size()) return on_.refuse("the answer has a malformed chunk");
    if (left_ > room()) return refuse_size();
    incoming trailer;
    is_complete_ = left_ == 0 && on_.read_fields(trailer);
    return is_complete_ || left_ > 0;
  }
  bool refuse_size() {
    return on_.end(errc::response_too_large, too_large(answer_.status, request_.max_response_bytes).message);
  }
  bool refuse_encoding() { return on_.refuse("the answer's Content-Encoding is unknown or not sound"); }
  // Bytes of the body that are still allowed. Incompressible data is slightly longer in gzip.
  std::size_t room() const noexcept {
    const auto most = request_.max_response_bytes, more = is_gzip_ ? most / 16 + 1024 : 0;
    return (most < most + more ? most + more : most) - answer_.body.size();
  }
  // An error's body that cannot be decoded is kept as it came.
  bool decode() {
    if (!is_gzip_ || answer_.body.empty()) return true;
    std::string plain;
    const bool is_sound = !is_undecodable_ && gunzip(answer_.body, plain, request_.max_response_bytes);
    if (plain.size() > request_.max_response_bytes) return refuse_size();
    if (!is_sound) return !is_success(answer_.status) || refuse_encoding();
    answer_.body = std::move(plain);
    std::erase_if(answer_.headers, [](const header& field) {  // they are not of what is handed on
      return equal_names(field.name, "Content-Encoding") || equal_names(field.name, "Content-Length");
    });
    return true;
  }

  bool is_readable() const { return true; }
  bool is_writable() const { return true; }    // up to 0.18
  bool wait_readable() const { return true; }  // from 0.19 on
  bool wait_writable() const { return true; }
  time_t duration() const { return 0; }
  void get_remote_ip_and_port(std::string&, int&) const {}
  void get_local_ip_and_port(std::string&, int&) const {}
  socket_t socket() const { return INVALID_SOCKET; }

  connection& on_;
  const http_request& request_;
  const bool is_encoding_asked_ = find_header(request_.headers, "Accept-Encoding") != nullptr;  // by the caller
  bool is_written_ = false;

  incoming answer_{};
  std::optional<std::uint64_t> length_{};
  bool is_chunked_ = false, is_ambiguous_ = false, is_gzip_ = false, is_undecodable_ = false;
  bool closes_ = false;  // the connection is not used again

  std::string_view head_for_httplib_ = "HTTP/1.1 200\r\n\r\n";  // the part not read yet
  std::uint64_t left_ = 0;                                      // of the body or the chunk
  bool is_complete_ = false;
};

// Until when an idle connection may be used again. One that is always busy ends after a while as well, so that a host's
// new address is found.
inline time_point usable_until(time_point born, time_point idle_since, nanoseconds idle_limit) noexcept {
  return (std::min)(after(idle_since, idle_limit), after(born, 10 * a_minute));
}

// The idle connections of one process, the one used last at the back.
struct idle_connections {
  const std::uint64_t process = process_number.load(std::memory_order_relaxed);
  std::mutex mutex{};
  std::vector<std::unique_ptr<connection>> all{};

  // An empty pool. First closes the inherited sockets, unless another thread held the lock at fork().
  std::unique_ptr<idle_connections> for_child() {
    if (const std::unique_lock lock(mutex, std::try_to_lock); lock) all.clear();
    return std::make_unique<idle_connections>();
  }
};

// What the copies of a backend share.
class httplib_pool {
 public:
  route target;

  explicit httplib_pool(route r) : target(std::move(r)) {}
  ~httplib_pool() { SSL_CTX_free(target.tls); }

  // Once for all connections: the system's authorities take about 20 ms.
  result<void> secure(const std::string& ca_file) {
    connection::bio_method();  // before any thread needs it
    auto* context = target.tls = allocated(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);  // it would change the peer under a request
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);  // a record in one read
    auto* checks = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const char* host = target.base.host.c_str();
    const bool is_pinned =
        X509_VERIFY_PARAM_set1_ip_asc(checks, host) == 1 || X509_VERIFY_PARAM_set1_host(checks, host, 0) == 1;
    if (!is_pinned) return unsent(errc::tls_failed, "OpenSSL does not take the host " + target.base.host);
    if (ca_file.empty() ? trust_system(context) : SSL_CTX_load_verify_file(context, ca_file.c_str()) == 1) return {};
    ERR_clear_error();
    return refuse("client_options::ca_file cannot be read or holds no certificate in PEM form: " + one_line(ca_file));
  }

  result<http_response> send(const http_request& request) {
    auto on = reuse();
    if (!on) on = std::make_unique<connection>(target);
    if (!on->begin(request)) return on->failure();
    exchange exchange(*on, request);
    auto outcome = exchange.run();
    if (!exchange.ended_cleanly()) return outcome;
    on->usable_until = usable_until(on->born, steady_clock::now(), exchange.idle_limit);
    auto& idle = idle_.get();
    const std::unique_lock lock(idle.mutex);
    idle.all.push_back(std::move(on));
    return outcome;
  }
  void close_idle() {
    std::vector<std::unique_ptr<connection>> closed;  // destroyed after the lock is released
    auto& idle = idle_.get();
    const std::unique_lock lock(idle.mutex);
    closed.swap(idle.all);
  }

 private:
  // The idle connection that was used last and is usable, or null. Closes expired ones outside the lock.
  std::unique_ptr<connection> reuse() {
    const auto now = steady_clock::now();
    for (auto& idle = idle_.get();;) {
      std::unique_lock lock(idle.mutex);
      if (idle.all.empty()) return nullptr;
      const auto place = now >= idle.all.front()->usable_until ? idle.all.begin() : idle.all.end() - 1;
      auto found = std::move(*place);
      idle.all.erase(place);
      lock.unlock();
      if (now < found->usable_until && found->is_quiet()) return found;
    }
  }

  per_process<idle_connections> idle_{std::make_unique<idle_connections>()};
};
#endif

// --- CRM resources --------------------------------------------------------------------------------------------------

template <class Like, class Record>
concept is_like = std::same_as<std::remove_const_t<Like>, Record>;

// Visits each field of a record, or of two, with its name on the wire, until the visitor returns false, which is passed
// on. The one list for reading, writing and comparing.
bool each_field(const auto& visit, is_like<crm::address> auto&... of) {
  return visit("street_1", of.street_1...) && visit("street_2", of.street_2...) && visit("city", of.city...) &&
         visit("state", of.state...) && visit("zip_code", of.zip_code...) && visit("country", of.country...) &&
         visit("address_type", of.address_type...);
}
bool each_field(const auto& visit, is_like<crm::email_address> auto&... of) {
  return visit("email", of.email...) && visit("email_type", of.email_type...);
}
bool each_field(const auto& visit, is_like<crm::phone_number> auto&... of) {
  return visit("phone_number", of.phone_number...) && visit("phone_number_type", of.phone_number_type...);
}
bool each_common_field(const auto& visit, auto&... of) {
  return visit("id", of.id...) && visit("external_id", of.external_id...) &&
         visit("last_activity_at", of.last_activity_at...) && visit("external_created_at", of.external_created_at...) &&
         visit("external_modified_at", of.external_modified_at...) && visit("raw_external_data", of.raw...);
}
bool each_field(const auto& visit, is_like<crm::contact> auto&... of) {
  return each_common_field(visit, of...) && visit("first_name", of.first_name...) &&
         visit("last_name", of.last_name...) && visit("job_title", of.job_title...) &&
         visit("account", of.account...) && visit("adresses", of.addresses...) &&
         visit("email_adresses", of.email_addresses...) && visit("phone_numbers", of.phone_numbers...);
}
bool each_field(const auto& visit, is_like<crm::account_opportunity> auto&... of) {
  return visit("opportunity_id", of.opportunity_id...) && visit("opportunity_stage", of.opportunity_stage...) &&
         visit("opportunity_closed", of.opportunity_closed...);
}
bool each_field(const auto& visit, is_like<crm::account> auto&... of) {
  return each_common_field(visit, of...) && visit("name", of.name...) && visit("description", of.description...) &&
         visit("industry", of.industry...) && visit("annual_revenue", of.annual_revenue...) &&
         visit("number_of_employees", of.number_of_employees...) && visit("website", of.website...) &&
         visit("contacts", of.contacts...) && visit("opportunities", of.opportunities...) &&
         visit("adresses", of.addresses...) && visit("phone_numbers", of.phone_numbers...);
}
bool each_field(const auto& visit, is_like<crm::opportunity> auto&... of) {
  return each_common_field(visit, of...) && visit("name", of.name...) && visit("description", of.description...) &&
         visit("stage", of.stage...) && visit("amount", of.amount...) && visit("close_date", of.close_date...) &&
         visit("probability", of.probability...) && visit("expected_revenue", of.expected_revenue...) &&
         visit("expected_revenue_currency", of.expected_revenue_currency...) && visit("is_won", of.is_won...) &&
         visit("is_closed", of.is_closed...) && visit("contacts", of.contacts...) && visit("accounts", of.accounts...);
}

// Whether the text has a digit wherever the form has a 0, a sign where it has a +, and its characters elsewhere.
inline bool is_of_form(std::string_view text, std::string_view form) {
  const auto fits = [](char c, char wanted) {
    return wanted == '0' ? is_digit(c) : wanted == '+' ? is_one_of(c, "+-") : c == wanted;
  };
  return std::equal(text.begin(), text.end(), form.begin(), form.end(), fits);
}
inline int two_digits(std::string_view text) noexcept { return (text[0] - '0') * 10 + text[1] - '0'; }

// What has to follow a time of the day: nothing, or `Z`, or an offset from UTC.
inline std::optional<std::chrono::minutes> parse_offset(std::string_view text) noexcept {
  if (text.empty() || text == "Z") return std::chrono::minutes(0);
  if (!is_of_form(text, "+00") && !is_of_form(text, "+0000") && !is_of_form(text, "+00:00")) return std::nullopt;
  const int hour = two_digits(text.substr(1)), minute = text.size() > 3 ? two_digits(text.substr(text.size() - 2)) : 0;
  if (hour > 23 || minute > 59) return std::nullopt;
  return (text[0] == '-' ? -1 : 1) * std::chrono::minutes(hour * 60 + minute);
}

inline bool is_of_four_digits(crm::time_point time) noexcept {
  const auto second = time.time_since_epoch().count();
  return second >= -62'167'219'200 && second < 253'402'300'800;  // January 1, 0000 and 10000
}

// ISO 8601, as far as the API's pages have it.
inline std::optional<crm::time_point> parse_time(std::string_view text) noexcept {
  if (!is_of_form(text.substr(0, 10), "0000-00-00")) return std::nullopt;
  const int year = two_digits(text) * 100 + two_digits(text.substr(2));
  const auto date = std::chrono::year(year) / two_digits(text.substr(5)) / two_digits(text.substr(8));
  if (!date.ok()) return std::nullopt;
  const auto midnight = crm::time_point(std::chrono::sys_days(date));
  if (text.size() == 10) return midnight;
  if (!is_of_form(text.substr(10, 6), "T00:00")) return std::nullopt;
  const int hour = two_digits(text.substr(11)), minute = two_digits(text.substr(14));
  const bool has_seconds = is_of_form(text.substr(16, 3), ":00");
  const int second = has_seconds ? two_digits(text.substr(17)) : 0;
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;
  text.remove_prefix(has_seconds ? 19 : 16);
  if (has_seconds && is_of_form(text.substr(0, 2), ".0")) {
    text.remove_prefix((std::min)(text.find_first_not_of("0123456789", 1), text.size()));
  }
  const auto offset = parse_offset(text);
  if (!offset) return std::nullopt;
  const auto time = midnight + std::chrono::seconds((hour * 60 + minute) * 60 + second) - *offset;
  return is_of_four_digits(time) ? std::optional(time) : std::nullopt;
}

// Writes a time in the form that parse_time reads.
inline std::string time_text(crm::time_point time) {
  if (!is_of_four_digits(time)) raise_as<std::out_of_range>("a time outside of the years 0000 to 9999");
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto second = static_cast<int>((time - day).count());
  std::array<char, 64> text{};
  static_cast<void>(std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ",
                                  static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                                  static_cast<unsigned>(date.day()), second / 3600, second / 60 % 60, second % 60));
  return text.data();
}

// Reads records out of JSON, whose texts it takes. The first thing that does not fit ends it. CRMs are loose: an empty
// text clears a field of any type, a number may stand where a text is due, and a text where a number or a bool is.
class record_reader {
 public:
  // What does not fit, with its place in the record and the record's id; never what the answer says there.
  std::string problem() const { return place_ + problem_; }

  template <crm::record Record> void read(json& from, Record& to) {
    if (!from.is_object()) return expected("an object", from);
    const auto read_field = [&](const char* name, auto& field) {
      const auto found = from.find(name);
      read(found != from.end() ? *found : missing_, field);
      if (has_failed()) place_.insert(0, std::string(".") + name);
      return !has_failed();
    };
    const bool is_whole = each_field(read_field, to);
    if constexpr (requires { to.id; })
      if (!is_whole && !to.id.empty()) problem_ += " (id \"" + to.id + "\")";
  }
  template <class Value> void read(json& from, std::vector<Value>& to) {
    if (from.is_null()) return;
    if (!from.is_array()) return expected("an array", from);
    to.reserve(from.size());
    for (std::size_t i = 0; i < from.size() && !has_failed(); ++i) {
      read(from[i], to.emplace_back());
      if (has_failed()) place_.insert(0, '[' + std::to_string(i) + ']');
    }
  }
  template <class Value> void read(json& from, std::optional<Value>& to) {
    const auto* text = from.get_ptr<std::string*>();
    const bool is_cleared = text != nullptr && text->empty() && !std::same_as<Value, std::string>;
    if (!from.is_null() && !is_cleared) read(from, to.emplace());
  }
  void read(json& from, std::string& to) {
    auto* text = from.get_ptr<std::string*>();
    if (text == nullptr && !from.is_number()) return expected("a string", from);
    to = text != nullptr ? std::move(*text) : from.dump();
  }
  template <any_of<bool, double> Value> void read(json& from, Value& to) {
    constexpr bool is_bool = std::same_as<Value, bool>;
    const auto is_plain = [](char c) { return c > ' ' && c < 0x7f; };  // JSON allows spaces and a BOM around a value
    const auto* text = from.get_ptr<std::string*>();
    const json held = text != nullptr && each_is(*text, is_plain) ? parse_json(*text) : json();
    const json& value = text != nullptr ? held : from;
    const bool is_due = is_bool ? value.is_boolean() : value.is_number();
    if (!is_due) return expected(is_bool ? "true or false" : "a number", from);
    to = value.get<Value>();
  }
  void read(json& from, crm::time_point& to) {
    const auto* text = from.get_ptr<std::string*>();
    const auto time = text != nullptr ? parse_time(*text) : std::nullopt;
    if (!time) return expected("a time such as 2022-08-01T09:30:00Z", from);
    to = *time;
  }
  void read(json& from, json& to) { to = std::move(from); }

 private:
  bool has_failed() const noexcept { return !problem_.empty(); }
  void expected(const char* what, const json& found) {
    problem_ = std::string(" is not ") + what + ", but of type " + found.type_name();
  }

  std::string place_{}, problem_{};
  json missing_{};  // null; nothing changes it
};

// A field as JSON; null if it is empty.
template <class Value> json written(const Value& value) { return value; }
inline json written(crm::time_point time) { return time_text(time); }
template <class Value> json written(const std::optional<Value>& value) { return value ? written(*value) : json(); }
template <class Value> json written(const std::vector<Value>& all) { return all.empty() ? json() : json(all); }

inline query crm_query(const std::string& name, bool include_raw) {
  query parameters;
  if (!name.empty()) parameters.emplace_back("name", name);
  if (include_raw) parameters.emplace_back("include_raw", true);
  return parameters;
}
inline result<query> query_of(const crm::contact_query& which) {
  auto parameters = crm_query(which.name, which.include_raw);
  for (const auto& [name, all] : {std::pair{"email", &which.email}, {"account", &which.account}}) {
    std::string list;
    for (const auto& one : *all) {
      if (one.empty() || is_one_of(',', one)) {
        return refuse(std::string("contact_query::") + name +
                      " has an element that is empty or has a comma in it; give each one by itself");
      }
      list += (list.empty() ? "" : ",") + one;
    }
    if (!list.empty()) parameters.emplace_back(name, list);
  }
  return parameters;
}

template <crm::record Record> struct decoder<Record> {
  static std::string read(json& from, std::optional<Record>& to) {
    record_reader reader;
    reader.read(from, to.emplace());
    return reader.problem();
  }
};
template <crm::record Record, class Client>
result<std::vector<Record>> list_records(const Client& user, const char* path, const result<query>& which,
                                         const call_options& options) {
  if (!which) return which.error();
  std::vector<Record> all;
  const auto take = [&](Record&& one) { all.push_back(std::move(one)); };
  return user.template for_each<Record>(path, take, *which, options).transform([&](auto) { return std::move(all); });
}

// --- Hosted API -----------------------------------------------------------------------------------------------------

// FNV-1a: the same in each process. 64 bits are too few to recover a random key, but this is no cryptographic hash.
inline std::string hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::array<char, 17> digits{};
  static_cast<void>(std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash)));
  return digits.data();
}

// What is wrong with which fields: "path.to.field: message; ...". Empty if there is no list of such errors.
inline std::string field_errors(const json& errors) {
  std::string all;
  for (const auto& one : errors) {
    const auto* message = find_text(one, "message");
    if (message == nullptr) continue;
    std::string place;
    for (const auto& part : member_of(one, "path"))
      place += (place.empty() ? "" : ".") + (part.is_string() ? part.get<std::string>() : part.dump());
    all += (all.empty() ? "" : "; ") + place + (place.empty() ? "" : ": ") + *message;
  }
  return all;
}

// Type and message of a body that explains an error; false: it does not.
inline bool read_explanation(const json& body, error& e) {
  const auto& told = member_of(body, "error");
  const auto* code = find_text(told, "code");
  const auto* text = find_text(told.is_object() ? told : body, told.is_string() ? "error" : "message");
  if (code == nullptr && text == nullptr) return false;
  if (code != nullptr) e.type = *code;
  if (text != nullptr) e.message = *text;
  if (e.message.empty()) e.message = field_errors(member_of(told, "errors"));
  if (e.message.empty()) e.message = e.type;
  return true;
}

inline errc errc_of_status(int status, bool explained) noexcept {
  if (is_success(status)) return errc::malformed_response;
  if (status == 429) return errc::rate_limited;
  if (status == 401 || status == 403) return errc::auth_error;
  if (!explained) return errc::unexpected_status;
  if (status == 400 || status == 415 || status == 422) return errc::params_error;
  return status >= 500 ? errc::processing_error : errc::api_error;
}

// True if the proxy passed this answer on from the connected API: a 429 is the service's own only with its code.
inline bool is_proxied(std::string_view path, const http_response& answer) {
  if (!path.starts_with("proxy/")) return false;
  if (answer.status != 429) return true;
  const auto body = parse_json(answer.body);
  const auto* code = find_text(member_of(body, "error"), "code");
  return code == nullptr || *code != "too_many_request";
}

// The rest of the window that this answer has spent. Nothing for paths under proxy/, where an upstream's headers of
// the same names stand in place of the service's own.
inline std::optional<milliseconds> rest_of_window(std::string_view path, const http_response& answer) {
  const auto* left = find_header(answer.headers, "X-RateLimit-Remaining");
  const auto* field = find_header(answer.headers, "X-RateLimit-Reset");
  const auto reset = field != nullptr ? parse_number(*field) : std::nullopt;
  if (left == nullptr || *left != "0" || !reset || path.starts_with("proxy/")) return std::nullopt;
  const std::chrono::sys_seconds end(std::chrono::seconds((std::min)(*reset, std::uint64_t{1} << 62)));
  const auto rest = end - time_of(answer);
  if (rest.count() < 0) return std::nullopt;
  return (std::min)(rest, longest_wait) + std::chrono::seconds(1);  // the service rounds the reset down
}

inline result<query> query_of(std::string_view model, const hosted::record_query& which) {
  if (model.empty()) return refuse("the model is empty; name one, as the integration's sync does");
  if (which.limit > 10'000) return refuse("record_query::limit must be 10000 at most");
  if (which.ids.size() > 100)
    return refuse("record_query::ids must be 100 at most; ask for the others by another call");
  query parameters{{"model", model}};
  if (which.limit != 0) parameters.emplace_back("limit", which.limit);
  if (!which.modified_after.empty()) parameters.emplace_back("modified_after", which.modified_after);
  for (const auto& id : which.ids) parameters.emplace_back("ids", id);
  if (!which.filter.empty()) parameters.emplace_back("filter", which.filter);
  if (!which.variant.empty()) parameters.emplace_back("variant", which.variant);
  return parameters;
}

// True if this answer does not tell how the action ended.
inline bool is_still_open(const error& e) {
  const auto mentions = [&](const char* text) { return e.body.find(text) != std::string::npos; };
  // It may still run, or the service could not look; else the action is beyond help.
  if (e.type == "action_script_failure") return mentions("is in progress") || mentions("\"retryKey\"");
  const bool is_outcome = e.type.starts_with("script_") || e.type == "action_script_runtime_error";
  const bool has_no_turn = e.code == errc::rate_limited;  // of the service's or of the limiter's
  return e.http_status == 404 || has_no_turn || (!is_outcome && is_worth_another(e));
}
// The error that ends the wait for an action, made from the last answer.
inline error gave_up(error last, errc why) {
  last.code = why;
  last.message = "the action had not ended, or never was; the last answer: " + last.message;
  return last;
}

struct action_id {
  std::string text{};
  friend void from_json(const json&, action_id&);  // what a call gives has one; the decoder below reads it
};
template <> struct decoder<action_id> {
  static std::string read(json& from, std::optional<action_id>& to) {
    const auto* id = find_text(from, "id");
    if (id == nullptr || id->empty()) return " has no id of an action";
    to.emplace().text = *id;
    return {};
  }
};

// The cursor after a page, out of what is around its records; what is wrong with it.
inline std::string read_next(const json& page, std::string& next) {
  const auto& cursor = member_of(page, "next_cursor");
  if (cursor.is_string()) next = cursor.get<std::string>();
  return cursor.is_string() || cursor.is_null() ? "" : "the page of records has a \"next_cursor\" that is no text";
}
// Private parts of a client that this section uses.
struct client_access {
  template <class Client> static auto& core_of(const Client& client) { return *client.core_; }
  template <class Client> static const handle& handle_of(const Client& client) { return *client.handle_; }
};

}  // namespace detail

// ====================================================================================================================
// Definitions, in the order of the declarations
// ====================================================================================================================

// --- Errors ---------------------------------------------------------------------------------------------------------

inline std::string_view to_string(errc code) noexcept { return detail::errc_info(code).name; }

inline std::error_code make_error_code(errc code) noexcept {
  static const detail::error_category category;
  return {static_cast<int>(code), category};
}

inline std::ostream& operator<<(std::ostream& out, errc code) { return out << to_string(code); }
inline std::ostream& operator<<(std::ostream& out, const error& e) { return out << detail::describe(e); }

inline exception::exception(nango::error e)
    : std::runtime_error(detail::describe(e)), error_(std::make_shared<const nango::error>(std::move(e))) {}

// --- HTTP seam ------------------------------------------------------------------------------------------------------

inline result<http_response> any_backend::send(const http_request& request) {
  return send_ ? send_(request) : detail::refuse("any_backend holds no backend: it was made from a null pointer");
}

// --- Rate limiter ---------------------------------------------------------------------------------------------------

inline bool steady_clock::wait_until(std::condition_variable& wake, std::unique_lock<std::mutex>& lock,
                                     std::chrono::steady_clock::time_point t) {
  // Some libraries compute with the distance to t, which may be min() or max().
  const auto began = now();
  if (t <= began) return false;
  wake.wait_until(lock, (std::min)(t, detail::after(began, detail::an_hour)));
  return now() < t;
}

// --- Paths and queries ----------------------------------------------------------------------------------------------

template <std::convertible_to<std::string_view>... Segments>
  requires(!std::same_as<Segments, std::nullptr_t> && ...)
std::string path(const Segments&... segments) {
  std::string joined;
  for (const auto segment : std::initializer_list<std::string_view>{segments...}) {
    // An empty first segment must not pass for the leading slash that a path may have.
    if (!joined.empty() || segment.empty()) joined += '/';
    detail::append_encoded(joined, segment);
  }
  return joined;
}

inline std::string env(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): documented
  return value != nullptr ? value : "";
}

// --- Envelope -------------------------------------------------------------------------------------------------------

inline result<response> parse_envelope(http_response answer) {
  const int status = answer.status;
  const bool has_no_body = (status == 204 || status == 205) && answer.body.empty();
  constexpr const char* result_name = "result";  // no array: its length would be of the type
  auto envelope = has_no_body ? json() : detail::parse_json(answer.body);
  const auto* said = detail::find_text(envelope, "status");
  const bool ok = has_no_body || (said != nullptr && *said == "ok");
  if (ok && detail::is_success(status)) {
    response r{.http_status = status, .headers = std::move(answer.headers)};
    if (const auto found = envelope.find(result_name); found != envelope.end()) r.result = std::move(*found);
    envelope.clear();  // or its destructor, which looks for children, allocates
    return r;
  }
  const auto* type = said != nullptr && *said == "error" ? detail::find_text(envelope, "error_type") : nullptr;
  auto e = type != nullptr ? detail::error_from_envelope(*type, detail::find_text(envelope, "error_msg"))
                           : detail::without_envelope(status, answer.body);
  if (ok) e = {.code = errc::malformed_response, .message = "the envelope says ok, the status does not"};
  if (status == 429) e.code = errc::rate_limited;
  if (status == 429 && type == nullptr) e.message = "too many requests";
  detail::complete(e, answer);
  return e;
}

// --- Retries --------------------------------------------------------------------------------------------------------

inline std::optional<std::chrono::milliseconds> next_delay(const error& e, std::string_view method, int number,
                                                           const retry_policy& policy, double jitter) {
  if (number >= policy.max_attempts || !detail::is_worth_another(e)) return std::nullopt;
  const bool idempotent = method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
  if (!idempotent && e.may_have_executed) return std::nullopt;
  const auto count = [](std::chrono::milliseconds d) { return static_cast<double>(d.count()); };
  const auto most = (std::min)(std::ldexp(count(policy.base_delay), number - 1), count(policy.max_delay));
  const std::chrono::milliseconds delay(static_cast<std::chrono::milliseconds::rep>(jitter * most));
  return (std::max)({delay, e.retry_after.value_or(delay), std::chrono::milliseconds(0)});
}

#ifdef NANGO_DETAIL_HTTPLIB
// --- Default backend ------------------------------------------------------------------------------------------------

inline result<httplib_backend> httplib_backend::create(const client_options& options) {
  auto checked = detail::check_options(options);
  if (!checked) return std::move(checked).error();
  auto pool = std::make_shared<detail::httplib_pool>(
      detail::route{std::move(checked->base), std::move(checked->proxy), options.connect_timeout});
  if (auto secured = pool->secure(options.ca_file); !secured) return std::move(secured).error();
  return httplib_backend(std::move(pool));
}

inline result<http_response> httplib_backend::send(const http_request& request) {
  const auto& origin = pool_->target.base.origin;
  if (!request.url.starts_with(origin) || !request.url.substr(origin.size()).starts_with('/')) {
    return detail::refuse("the default backend sends to the host of client_options::base_url only");
  }
  result<http_response> outcome = http_response();
  ERR_clear_error();  // SSL_get_error would take what other code left there for its own
  const auto problem = detail::caught([&] { outcome = pool_->send(request); });
  ERR_clear_error();
  if (problem.empty()) return outcome;
  return error{.code = errc::connection_failed, .message = "httplib failed: " + problem};
}

inline void httplib_backend::close_idle() { pool_->close_idle(); }
#endif

// --- CRM resources --------------------------------------------------------------------------------------------------

namespace crm {

/// @{ GETs crm/contacts and so on, or one record by its id, which must not be empty. The client is a user's handle.
/// Errors: those of basic_client::get; invalid_argument for a query that cannot be sent.
template <http_backend Backend, rate_limiter Limiter>
result<std::vector<contact>> list_contacts(const basic_client<Backend, Limiter>& user, const contact_query& which = {},
                                           const call_options& options = {}) {
  return detail::list_records<contact>(user, "crm/contacts", detail::query_of(which), options);
}
template <http_backend Backend, rate_limiter Limiter>
result<contact> get_contact(const basic_client<Backend, Limiter>& user, std::string_view id, bool include_raw = false,
                            const call_options& options = {}) {
  return user.template get<contact>(path("crm", "contacts", id), detail::crm_query({}, include_raw), options);
}
template <http_backend Backend, rate_limiter Limiter>
result<std::vector<account>> list_accounts(const basic_client<Backend, Limiter>& user, const account_query& which = {},
                                           const call_options& options = {}) {
  return detail::list_records<account>(user, "crm/accounts", detail::crm_query(which.name, which.include_raw), options);
}
template <http_backend Backend, rate_limiter Limiter>
result<account> get_account(const basic_client<Backend, Limiter>& user, std::string_view id, bool include_raw = false,
                            const call_options& options = {}) {
  return user.template get<account>(path("crm", "accounts", id), detail::crm_query({}, include_raw), options);
}
template <http_backend Backend, rate_limiter Limiter>
result<std::vector<opportunity>> list_opportunities(const basic_client<Backend, Limiter>& user,
                                                    const opportunity_query& which = {},
                                                    const call_options& options = {}) {
  return detail::list_records<opportunity>(user, "crm/opportunities", detail::crm_query(which.name, which.include_raw),
                                           options);
}
template <http_backend Backend, rate_limiter Limiter>
result<opportunity> get_opportunity(const basic_client<Backend, Limiter>& user, std::string_view id,
                                    bool include_raw = false, const call_options& options = {}) {
  return user.template get<opportunity>(path("crm", "opportunities", id), detail::crm_query({}, include_raw), options);
}
/// @}

/// Compares each field. (A defaulted operator would make each unit look for a way to compare json.)
template <record Value> bool operator==(const Value& a, const Value& b) {
  return detail::each_field([](const char*, const auto& of_a, const auto& of_b) { return of_a == of_b; }, a, b);
}

/// @{ For nlohmann/json. `json(contact)` uses the wire's names and omits empty fields. `get<crm::contact>()` reads a
/// result or your own data; a mismatch throws std::runtime_error with the field's place. A time outside the years 0000
/// to 9999 cannot be written: std::out_of_range. (With exceptions off, both call std::abort.)
template <record Value> void to_json(json& to, const Value& value) {
  auto object = json::object();  // not in `to`: if a field throws, nlohmann/json does not free what stands there
  const auto write = [&](const char* name, const auto& field) {
    if (auto made = detail::written(field); !made.is_null()) object[name] = std::move(made);
    return true;
  };
  detail::each_field(write, value);
  to = std::move(object);
}
template <record Value> void from_json(const json& from, Value& value) {
  auto taken = from;
  std::optional<Value> found;
  const auto problem = detail::decoder<Value>::read(taken, found);
  if (!problem.empty())
    detail::raise_as<std::runtime_error>(problem[0] == '.' ? problem.substr(1) : "the value" + problem);
  value = *std::move(found);
}
/// @}

}  // namespace crm

// --- Hosted API -----------------------------------------------------------------------------------------------------

namespace hosted {

inline client_options options(std::string api_key, rate plan) {
  client_options made{.base_url = "https://api.nango.dev/"};
  made.limit_key = "account:" + detail::hash_text(api_key);
  made.api_key = std::move(api_key);
  made.timeout = detail::round_up((std::min)(plan.per, detail::a_year)) + std::chrono::seconds(30);  // as the limiter
  made.rate = plan;
  made.dialect = {
      .parse = &parse_bare, .list_member = "", .is_upstream = &detail::is_proxied, .hold_for = &detail::rest_of_window};
  return made;
}

inline result<response> parse_bare(http_response answer) {
  const int status = answer.status;
  auto body = answer.body.empty() ? json() : detail::parse_json(answer.body);
  if (detail::is_success(status) && !body.is_discarded()) {
    return response{.result = std::move(body), .http_status = status, .headers = std::move(answer.headers)};
  }
  error e;
  const bool explained = detail::read_explanation(body, e);
  e.code = detail::errc_of_status(status, explained);
  if (!explained) e.message = "the answer does not say why";
  if (detail::is_success(status)) {
    e.message = detail::is_web_page(answer.body) ? "the answer is a web page; is the path right?"
                                                 : "the answer is no JSON; " + detail::problem_of_json(answer.body);
  }
  e.message = e.message.empty() ? to_string(e.code) : detail::one_line(std::move(e.message));
  detail::complete(e, answer);
  if (status == 429 && e.retry_after) *e.retry_after += std::chrono::seconds(1);  // the service rounds it down
  return e;
}

/// A handle for one connection (Connection-Id and Provider-Config-Key), limited by the client's own key. If a name is
/// empty or invalid in a header, each of its calls is invalid_argument.
template <http_backend Backend, rate_limiter Limiter>
basic_client<Backend, Limiter> connection(const basic_client<Backend, Limiter>& client, std::string_view connection_id,
                                          std::string_view provider_config_key) {
  return client.as({.headers = {{"Connection-Id", std::string(connection_id)},
                                {"Provider-Config-Key", std::string(provider_config_key)}},
                    .limit_key = std::string(client.limit_key())});
}

inline std::string timestamp(std::chrono::sys_seconds time) { return detail::time_text(time); }

/// Passes each record of a model to `fn(json&&)`, page by page (GET records), with the text of one page in memory. `fn`
/// may return false to stop; its exceptions propagate. A record that changes meanwhile may be repeated (hosted API), so
/// identify records by id. `options` applies to each page. Errors, in `failure`: those of basic_client::request;
/// invalid_argument for an empty model, a limit over 10,000 or more than 100 ids; decode_error for a malformed page;
/// malformed_response for a repeated cursor.
template <http_backend Backend, rate_limiter Limiter, class Fn>
record_progress for_each_record(const basic_client<Backend, Limiter>& connection, std::string_view model, Fn&& fn,
                                const record_query& which = {}, const call_options& options = {}) {
  const auto parameters = detail::query_of(model, which);
  record_progress so_far{.cursor = which.cursor};
  if (!parameters) so_far.failure = parameters.error();
  const auto& who = detail::client_access::handle_of(connection);
  auto of_page = options;
  of_page.list_member = "records";
  bool more = true;
  const auto take = [&](json&& record) {  // after the last record the page is read on, for its cursor
    if (!more) return false;
    const auto* found = detail::find_text(detail::member_of(record, "_nango_metadata"), "cursor");
    auto own = found != nullptr ? *found : std::string();  // a copy: fn may use the record up
    more = detail::hand_on(fn, std::move(record));
    ++so_far.count;
    if (!own.empty()) so_far.cursor = std::move(own);
    return true;
  };
  std::string mark;  // a cursor seen before; a cycle meets it within three rounds (Brent)
  for (std::size_t pages = 1; more && !so_far.failure; ++pages) {
    auto asked = *parameters;
    if (!so_far.cursor.empty()) asked.emplace_back("cursor", so_far.cursor);
    std::optional<std::string> next;  // of a page that was read to its end; empty: it is the last
    const auto finish = [&](const json& around) { return detail::read_next(around, next.emplace()); };
    const auto page = detail::client_access::core_of(connection)
                          .template for_each<json>({who, "GET", "records", asked, of_page}, take, finish);
    if (!page) so_far.failure = page.error();
    if (!page || !next) break;
    so_far.done = next->empty();
    if (so_far.done) break;
    if (next == mark) {
      so_far.failure = error{.code = errc::malformed_response,
                             .message = "a cursor came again: the pages have no end",
                             .request = "GET records"};
      break;
    }
    if ((pages & (pages - 1)) == 0) mark = *next;  // a power of two
    so_far.cursor = *std::move(next);
  }
  return so_far;
}

/// Runs an action (POST action/trigger), which may take minutes: give `options` a timeout. The request is sent again
/// only if the action certainly did not run, or if call_options::idempotent allows it. A failed action's own report is
/// `payload` in error::body.
template <class Value = json, http_backend Backend, rate_limiter Limiter>
result<Value> trigger_action(const basic_client<Backend, Limiter>& connection, std::string_view name, const json& input,
                             const call_options& options = {}) {
  return connection.template post<Value>("action/trigger", json{{"action_name", std::string(name)}, {"input", input}},
                                         options);
}

/// Starts an action in the background (X-Async) and returns its id, for wait_for_action. Sent again only as
/// trigger_action.
template <http_backend Backend, rate_limiter Limiter>
result<std::string> trigger_action_async(const basic_client<Backend, Limiter>& connection, std::string_view name,
                                         const json& input, const call_options& options = {}) {
  auto asked = options;
  asked.headers.push_back({"X-Async", "true"});
  return trigger_action<detail::action_id>(connection, name, input, asked).transform([](detail::action_id id) {
    return id.text;
  });
}

/// Polls for the outcome of such an action (GET action/ID), with pauses from 100 ms to 5 s. Returns its result, or the
/// error that it ended with (script_http_error, action_script_runtime_error, script_internal_error,
/// action_script_failure in error::type). A 404, a lost connection, a gateway's 5xx and a 429 are not outcomes. Returns
/// timed_out at the deadline, even for an id that never existed. `options.timeout` covers the whole wait;
/// `options.retry` is not used.
template <class Value = json, http_backend Backend, rate_limiter Limiter>
result<Value> wait_for_action(const basic_client<Backend, Limiter>& connection, std::string_view id,
                              const call_options& options = {}) {
  using clock = typename Limiter::clock;
  const auto deadline = detail::after(clock::now(), detail::client_access::core_of(connection).timeout_of(options));
  auto asked = options;
  asked.retry = retry_policy{.max_attempts = 1};
  int attempts = 0;
  for (std::chrono::milliseconds pause{100};; pause = (std::min)(pause * 2, std::chrono::milliseconds(5'000))) {
    auto outcome = connection.template get<Value>(path("action", id), {}, asked);
    if (outcome) return outcome;
    auto& e = outcome.error();
    e.attempts = attempts += e.attempts;
    if (!detail::is_still_open(e)) return outcome;
    const auto next = detail::after(clock::now(), (std::max)(pause, e.retry_after.value_or(pause)));
    if (next >= deadline) return detail::gave_up(std::move(e), errc::timed_out);
    if (!detail::sleep_until<clock>(next, options.cancel)) return detail::gave_up(std::move(e), errc::canceled);
    asked.timeout = detail::round_up(deadline - clock::now());
  }
}

/// A handle for the connected API itself, through the proxy: `upstream(connection).get("user/repos")`. Paths are that
/// API's, relative to the integration's base URL; they may be empty or end in a slash. Cut scheme and host off a link
/// to a next page. Errors follow parse_bare, by status, with body and headers. A 429 from the upstream is retried by
/// its own Retry-After and holds no key, but `send` returns it unchanged. The service's own errors (400, 401, 403, 404,
/// 424, 429) differ only by their code in error::type, if the upstream has no such code. A body's type is repeated as
/// Nango-Proxy-Content-Type, without which it would not arrive. Headers named Nango-Proxy-X reach that API as X;
/// Retries, Base-Url-Override and Decompress steer the proxy.
template <http_backend Backend, rate_limiter Limiter>
basic_client<Backend, Limiter> upstream(const basic_client<Backend, Limiter>& connection) {
  auto who = connection.acting_as();
  who.path_prefix = "proxy/";
  who.content_type_header = "Nango-Proxy-Content-Type";
  return connection.as(std::move(who));
}

/// `send` of upstream(): returns status, headers and body of the connected API's answer unchanged, even a 429. The
/// service's own 429 is rate_limited.
template <http_backend Backend, rate_limiter Limiter>
result<http_response> proxy(const basic_client<Backend, Limiter>& connection, std::string_view method,
                            std::string_view path, const query& parameters = {}, std::string_view body = {},
                            std::string_view content_type = "application/json", const call_options& options = {}) {
  return upstream(connection).send(method, path, parameters, body, content_type, options);
}

#ifdef NANGO_DETAIL_HTTPLIB
inline bool verify_webhook(std::string_view raw_body, std::string_view signature_hex,
                           std::string_view signing_key) noexcept {
  std::array<unsigned char, 32> signed_with{}, due{};  // as long as SHA-256 makes them
  if (signature_hex.size() != 2 * due.size() || signing_key.empty() || signing_key.size() > 65'536) return false;
  for (std::size_t i = 0; i < due.size(); ++i) {
    const int high = detail::hex_value(signature_hex[2 * i]), low = detail::hex_value(signature_hex[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    signed_with[i] = static_cast<unsigned char>(high * 16 + low);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw_body.data());
  const bool made = HMAC(EVP_sha256(), signing_key.data(), static_cast<int>(signing_key.size()), bytes, raw_body.size(),
                         due.data(), nullptr) != nullptr;
  return made && CRYPTO_memcmp(due.data(), signed_with.data(), due.size()) == 0;
}
#endif

}  // namespace hosted

}  // namespace NANGO_DETAIL_VERSION
}  // namespace nango

#undef NANGO_DETAIL_EXCEPTIONS
#undef NANGO_DETAIL_HTTPLIB
#undef NANGO_DETAIL_LIFETIMEBOUND
#undef NANGO_DETAIL_VERSION
#undef NANGO_DETAIL_VISIBLE

#ifdef _MSC_VER
#pragma warning(pop)
#endif

#endif  // C++20
#endif  // NANGO_HPP
