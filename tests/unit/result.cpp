// result: what it shares with std::expected, and where it differs on purpose. Built as C++23 with a library that has
// std::expected, the tables of traits are compared with std::expected itself.
#include "nango.hpp"

#include <doctest/doctest.h>
#ifndef _WIN32
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>
#include <version>
#ifdef __cpp_lib_expected
#include <expected>
#endif

namespace result_tests {

using nango::errc;
using nango::error;
using nango::json;
using nango::result;

namespace {

// ---- Types to hold -------------------------------------------------------------------------------------------------

using move_only = std::unique_ptr<int>;

/// No default constructor, and an explicit one.
struct number {
  explicit number(int value_) : value(value_) {}
  int twice() const { return 2 * value; }
  int value;
};

/// Tells whether it was copied or moved on its way.
struct traveler {
  traveler() = default;
  traveler(const traveler& other) : copies(other.copies + 1), moves(other.moves) {}
  traveler(traveler&& other) noexcept : copies(other.copies), moves(other.moves + 1) {}
  traveler& operator=(const traveler&) = default;
  traveler& operator=(traveler&&) = default;
  ~traveler() = default;
  int copies = 0, moves = 0;
};

/// Counts those alive; throws when it is copied or moved, if so told.
struct counted {
  counted() { ++alive; }
  counted(const counted& other) : throws(other.throws) { arrive(); }
  counted(counted&& other) : throws(other.throws) { arrive(); }  // NOLINT: may throw on purpose
  counted& operator=(const counted&) = delete;
  ~counted() { --alive; }
  void arrive() {
    if (throws) throw std::bad_alloc();
    ++alive;
  }
  bool throws = false;
  static inline int alive = 0;
};

error failure(std::string message = "it failed") {
  return {.code = errc::params_error, .http_status = 400, .message = std::move(message), .attempts = 3};
}

template <class R> void check_failure(const R& r, std::string_view message = "it failed") {
  REQUIRE_FALSE(r.has_value());
  CHECK(r.error().code == errc::params_error);
  CHECK(r.error().http_status == 400);
  CHECK(r.error().message == message);
  CHECK(r.error().attempts == 3);
}

// ---- Traits --------------------------------------------------------------------------------------------------------

template <class R> using value_of = decltype(std::declval<R>().value());
template <class R> using starred = decltype(*std::declval<R>());
template <class R> using error_of = decltype(std::declval<R>().error());
template <class R> using arrow_of = decltype(std::declval<R>().operator->());

/// What a type that holds a T lets one do, and what of it promises not to throw.
struct traits {
  bool copy_constructible = true, copy_assignable = true;
  bool move_constructible = true, move_assignable = true, swappable = true;
  bool nothrow_move_constructible = true, nothrow_move_assignable = true, nothrow_destructible = true;
  bool from_value = true, implicitly_from_value = true;
  bool from_const_reference = true;
  bool implicitly_to_bool = false, explicitly_to_bool = true;
  bool to_value = false;
  bool has_value_is_noexcept = true;
  bool operator==(const traits&) const = default;
};

template <class R> constexpr traits traits_of() {
  using value = typename R::value_type;
  return {.copy_constructible = std::is_copy_constructible_v<R>,
          .copy_assignable = std::is_copy_assignable_v<R>,
          .move_constructible = std::is_move_constructible_v<R>,
          .move_assignable = std::is_move_assignable_v<R>,
          .swappable = std::is_swappable_v<R>,
          .nothrow_move_constructible = std::is_nothrow_move_constructible_v<R>,
          .nothrow_move_assignable = std::is_nothrow_move_assignable_v<R>,
          .nothrow_destructible = std::is_nothrow_destructible_v<R>,
          .from_value = std::is_constructible_v<R, value>,
          .implicitly_from_value = std::is_convertible_v<value, R>,
          .from_const_reference = std::is_constructible_v<R, const value&>,
          .implicitly_to_bool = std::is_convertible_v<R, bool>,
          .explicitly_to_bool = std::is_constructible_v<bool, R>,
          .to_value = std::is_convertible_v<R, value>,
          .has_value_is_noexcept = noexcept(std::declval<const R&>().has_value())};
}

constexpr traits of_usual{};
constexpr traits of_move_only{.copy_constructible = false, .copy_assignable = false, .from_const_reference = false};

/// From where a result of a type other than its own can be made.
template <class R, class From> constexpr bool implicit = std::is_convertible_v<From, R>;
template <class R, class From>
constexpr bool only_explicit = std::is_constructible_v<R, From> && !std::is_convertible_v<From, R>;
template <class R, class From> constexpr bool impossible = !std::is_constructible_v<R, From>;

/// True for result and for std::expected alike.
template <template <class> class R> constexpr bool behaves_as_expected() {
  static_assert(traits_of<R<int>>() == of_usual);
  static_assert(traits_of<R<bool>>() == of_usual);
  static_assert(traits_of<R<std::string>>() == of_usual);
  static_assert(traits_of<R<std::vector<int>>>() == of_usual);
  static_assert(traits_of<R<json>>() == of_usual);
  static_assert(traits_of<R<number>>() == of_usual);
  static_assert(traits_of<R<move_only>>() == of_move_only);

  static_assert(std::is_same_v<typename R<int>::value_type, int> && std::is_same_v<typename R<int>::error_type, error>);
  static_assert(std::is_same_v<typename R<void>::value_type, void>);
  static_assert(std::is_same_v<typename R<void>::error_type, error>);

  static_assert(implicit<R<long>, int> && implicit<R<std::string>, const char*> && implicit<R<json>, const char*>);
  static_assert(implicit<R<std::optional<int>>, int> && implicit<R<move_only>, std::nullptr_t>);
  static_assert(only_explicit<R<number>, int> && only_explicit<R<std::string>, std::string_view>);
  static_assert(impossible<R<int>, std::string> && impossible<R<std::string>, std::vector<int>>);
  static_assert(impossible<R<move_only>, const move_only&> && impossible<R<int>, errc>);

  static_assert(std::is_default_constructible_v<R<void>> && std::is_copy_constructible_v<R<void>>);
  static_assert(std::is_nothrow_move_constructible_v<R<void>> && std::is_nothrow_move_assignable_v<R<void>>);
  static_assert(!std::is_convertible_v<R<void>, bool> && std::is_constructible_v<bool, R<void>>);
  static_assert(std::is_void_v<starred<R<void>>> && std::is_void_v<value_of<R<void>>>);

  static_assert(std::is_same_v<starred<R<int>&>, int&> && std::is_same_v<starred<const R<int>&>, const int&>);
  static_assert(std::is_same_v<value_of<R<int>&>, int&> && std::is_same_v<value_of<const R<int>&>, const int&>);
  static_assert(std::is_same_v<error_of<R<int>&>, error&> && std::is_same_v<error_of<const R<int>&>, const error&>);
  static_assert(std::is_same_v<arrow_of<R<int>&>, int*> && std::is_same_v<arrow_of<const R<int>&>, const int*>);
  static_assert(std::is_same_v<decltype(std::declval<R<int>>().value_or(1L)), int>);
  static_assert(std::is_same_v<decltype(std::declval<const R<int>&>().value_or(1L)), int>);
  return true;
}

static_assert(behaves_as_expected<result>());
#ifdef __cpp_lib_expected
template <class T> using expected = std::expected<T, error>;
static_assert(behaves_as_expected<expected>());
#endif

// What differs from std::expected. By value, so that `for (auto& c : *api.get("x"))` does not dangle:
static_assert(std::is_same_v<starred<result<json>>, json> && std::is_same_v<starred<result<move_only>>, move_only>);
static_assert(std::is_same_v<value_of<result<json>>, json> && std::is_same_v<value_of<result<move_only>>, move_only>);
static_assert(std::is_same_v<error_of<result<json>>, error> && std::is_same_v<error_of<result<void>>, error>);
// an error stands for itself, without std::unexpected:
static_assert(implicit<result<int>, error> && implicit<result<json>, error> && implicit<result<void>, error>);
static_assert(implicit<result<move_only>, const error&> && implicit<result<number>, error&>);

// An error code alone would become a JSON number; it says too little anyway.
template <class T>
constexpr bool refuses_codes = impossible<result<T>, errc> && impossible<result<T>, errc&> &&
                               impossible<result<T>, const errc&> && impossible<result<T>, const errc>;
static_assert(refuses_codes<json> && refuses_codes<int> && refuses_codes<bool> && refuses_codes<std::string>);
static_assert(refuses_codes<number> && refuses_codes<void> && refuses_codes<std::optional<json>>);
static_assert(std::is_constructible_v<json, errc>, "this is why it matters");

// The types of what the functions on results give.
struct to_text {
  std::string operator()(auto&&...) const { return "text"; }
};
struct to_text_result {
  result<std::string> operator()(auto&&...) const { return "text"; }
};
struct to_nothing {
  void operator()(auto&&...) const {}
};
struct to_const {
  const std::string operator()(auto&&...) const { return "text"; }
};
template <class R>
constexpr bool chains = requires(R r) {
  { std::forward<R>(r).transform(to_text()) } -> std::same_as<result<std::string>>;
  { std::forward<R>(r).transform(to_const()) } -> std::same_as<result<std::string>>;
  { std::forward<R>(r).transform(to_nothing()) } -> std::same_as<result<void>>;
  { std::forward<R>(r).transform(to_text_result()) } -> std::same_as<result<result<std::string>>>;
  { std::forward<R>(r).and_then(to_text_result()) } -> std::same_as<result<std::string>>;
};
static_assert(chains<result<int>&> && chains<const result<int>&> && chains<result<int>>);
static_assert(chains<result<void>&> && chains<const result<void>&> && chains<result<void>>);
static_assert(chains<result<move_only>&> && chains<const result<move_only>&> && chains<result<move_only>>);

}  // namespace

// ---- Construction --------------------------------------------------------------------------------------------------

TEST_CASE("a result made from a value has it") {
  const result<int> r = 7;
  CHECK(r.has_value());
  CHECK(static_cast<bool>(r));
  CHECK(*r == 7);
  CHECK(r.value() == 7);
}

TEST_CASE("a result made from an error has the whole of it") {
  const result<int> r = failure();
  CHECK_FALSE(r.has_value());
  CHECK_FALSE(static_cast<bool>(r));
  check_failure(r);
}

TEST_CASE("a result is made from whatever its type is made from") {
  const result<std::string> text = "text";
  CHECK(*text == "text");
  const result<double> real = 1;
  CHECK(*real == 1.0);
  const result<number> explicitly(3);
  CHECK(explicitly->value == 3);
  const result<json> object = {{"a", 1}};
  REQUIRE(object.has_value());
}

TEST_CASE("an error is the result's error, even if its type could be made from one") {
  struct report {
    report(error e_) : e(std::move(e_)) {}  // NOLINT(google-explicit-constructor): it has to be implicit here
    error e;
  };
  check_failure(result<report>(failure()));
  error lvalue = failure();
  check_failure(result<report>(lvalue));
  check_failure(result<report>(std::as_const(lvalue)));
  check_failure(result<std::optional<error>>(lvalue));
}

TEST_CASE("a value goes into a result without a copy") {
  const result<traveler> moved = traveler();
  CHECK(moved->copies == 0);
  const traveler original;
  const result<traveler> copied = original;
  CHECK(copied->copies == 1);
}

TEST_CASE("a result<void> is a success unless it is made from an error") {
  const result<void> success;
  CHECK(success.has_value());
  CHECK(static_cast<bool>(success));
  *success;
  CHECK_NOTHROW(success.value());
  const result<void> failed = failure();
  CHECK_FALSE(failed.has_value());
  CHECK_FALSE(static_cast<bool>(failed));
  check_failure(failed);
}

TEST_CASE("functions return a result<void> as {}") {
  const auto succeed = []() -> result<void> { return {}; };
  CHECK(succeed().has_value());
}

// ---- Types with traps ----------------------------------------------------------------------------------------------

TEST_CASE("a result of false is a success") {
  const result<bool> r = false;
  CHECK(r.has_value());
  CHECK(static_cast<bool>(r));
  CHECK_FALSE(*r);
  CHECK_FALSE(r.value());
  CHECK_FALSE(r.value_or(true));
  const result<bool> failed = failure();
  CHECK_FALSE(failed.has_value());
  CHECK(failed.value_or(true));
}

TEST_CASE("a result<bool> does not take whether another result has a value for its own value") {
  // std::expected converts the value instead; either is right, true for a 7 that means `success` is not.
  CHECK(impossible<result<bool>, result<int>>);
  CHECK(impossible<result<bool>, const result<json>&>);
  CHECK(impossible<result<bool>, result<void>>);
  CHECK_FALSE(std::is_convertible_v<result<int>, result<bool>>);
}

TEST_CASE("a result of JSON holds the very value, whatever its kind") {
  for (const char* text : {"null", "false", "0", "\"text\"", "[]", "[1]", "[[1,2]]", "{}", R"({"code":1})"}) {
    CAPTURE(text);
    const json value = json::parse(text);
    result<json> copied = value;
    result<json> braced{value};
    result<json> moved = json(value);
    CHECK(*copied == value);
    CHECK(*braced == value);
    CHECK(*moved == value);
    CHECK(*result<json>(copied) == value);      // from an lvalue that is not const
    CHECK(*std::move(copied) == value);         // a value in braces would become an array
    CHECK(std::move(braced).value() == value);  // likewise
    CHECK(moved.value_or(json("other")) == value);
  }
}

TEST_CASE("a result of JSON does not take another result for a JSON value") {
  CHECK(impossible<result<json>, result<int>>);
  CHECK(impossible<result<json>, const result<bool>&>);
  CHECK(impossible<result<json>, result<void>>);
}

TEST_CASE("a result of a string reaches it with an arrow") {
  result<std::string> r = "text";
  CHECK(r->size() == 4);
  r->push_back('!');
  CHECK(*r == "text!");
  CHECK(std::as_const(r)->back() == '!');
}

TEST_CASE("a result of a type without default constructor is made from an error as well") {
  const result<number> r = failure();
  check_failure(r);
  CHECK(r.value_or(number(4)).value == 4);
}

TEST_CASE("a result of a type that cannot be copied gives it away") {
  result<move_only> r = std::make_unique<int>(5);
  const int* const where = r->get();
  result<move_only> moved = std::move(r);
  const move_only taken = *std::move(moved);
  CHECK(taken.get() == where);
  CHECK(**result<move_only>(std::make_unique<int>(6)) == 6);
  CHECK(*result<move_only>(std::make_unique<int>(7)).value() == 7);
  CHECK(*result<move_only>(std::make_unique<int>(8)).value_or(nullptr) == 8);
  CHECK(result<move_only>(failure()).value_or(nullptr) == nullptr);
}

// ---- Copy, move, assignment ----------------------------------------------------------------------------------------

TEST_CASE("a copy is independent of its original") {
  result<std::string> original = "one";
  result<std::string> copy = original;
  *original = "two";
  CHECK(*copy == "one");
  original = failure();
  CHECK(*copy == "one");
  copy = original;
  check_failure(copy);
  check_failure(original);
}

TEST_CASE("a move takes the value along, and the source still says that it has one") {
  result<std::string> source = std::string(1000, 'x');
  const char* const where = source->data();
  result<std::string> moved = std::move(source);
  CHECK(moved->data() == where);
  CHECK(source.has_value());  // as with std::expected
  result<std::string> assigned = failure();
  assigned = std::move(moved);
  CHECK(assigned->data() == where);
}

TEST_CASE("a move takes the error along") {
  result<int> source = failure(std::string(1000, 'm'));
  const char* const where = source.error().message.data();
  const result<int> moved = std::move(source);
  CHECK(moved.error().message.data() == where);
  CHECK_FALSE(source.has_value());
  result<void> nothing = failure(std::string(1000, 'm'));
  const char* const here = nothing.error().message.data();
  CHECK(result<void>(std::move(nothing)).error().message.data() == here);
}

TEST_CASE("a value and an error are assigned over one another") {
  result<int> r = 1;
  r = failure();
  check_failure(r);
  r = 2;
  REQUIRE(r.has_value());
  CHECK(*r == 2);
  r = failure("again");
  check_failure(r, "again");
  result<void> nothing = failure();
  nothing = {};
  CHECK(nothing.has_value());
  nothing = failure();
  check_failure(nothing);
}

TEST_CASE("each value is destroyed, and once") {
  {
    result<counted> r = counted(), other = failure();
    const result<counted> copy(r);
    CHECK(counted::alive == 2);
    other = copy;
    CHECK(counted::alive == 3);
    r = std::move(other);  // a value over a value; the one moved from stays
    CHECK(counted::alive == 3);
    r = failure();
    CHECK(counted::alive == 2);
    r = counted();
    r = *&r;  // itself
    CHECK(r.has_value());
    CHECK(counted::alive == 3);
    static_cast<void>(*std::move(r));
    CHECK(counted::alive == 3);
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a value that throws on its way leaves no half of one") {
  {
    result<counted> r = counted(), other = counted();
    r->throws = true;
    CHECK_THROWS_AS(static_cast<void>(result<counted>(r)), std::bad_alloc);
    CHECK_THROWS_AS(static_cast<void>(result<counted>(std::move(r))), std::bad_alloc);
    CHECK_THROWS_AS(other = r, std::bad_alloc);  // as it is copied, before anything is changed
    CHECK(other.has_value());
    CHECK(counted::alive == 2);
  }
  CHECK(counted::alive == 0);
}

TEST_CASE("a value that throws as it is moved in leaves the error that was there") {
  struct picky {
    explicit picky(int moves) : moves_left(moves) {}
    picky(picky&& other) : moves_left(other.moves_left - 1) {  // NOLINT: throws on purpose
      if (moves_left < 0) throw std::bad_alloc();
    }
    picky& operator=(picky&&) = delete;
    ~picky() = default;
    int moves_left;
  };
  result<picky> r = failure();
  CHECK_THROWS_AS(r = picky(1), std::bad_alloc);  // into the argument, but not out of it
  check_failure(r);
  r = picky(2);
  CHECK(r.has_value());
}

TEST_CASE("results are swapped, a value for an error too") {
  result<std::string> a = "value", b = failure();
  std::swap(a, b);
  check_failure(a);
  CHECK(*b == "value");
}

// ---- Access --------------------------------------------------------------------------------------------------------

TEST_CASE("the value is changed in place through every way to it") {
  result<int> r = 1;
  *r = 2;
  CHECK(r.value() == 2);
  r.value() = 3;
  CHECK(*r == 3);
  *r.operator->() = 4;
  CHECK(*r == 4);
}

TEST_CASE("the error of a result is changed in place") {
  result<int> r = failure();
  r.error().message = "more of it";
  CHECK(r.error().message == "more of it");
  // As with std::expected<void, E>.
  CHECK(std::is_same_v<error_of<result<void>&>, error&>);
}

TEST_CASE("a range-for over a temporary result's value does not dangle") {
  const auto list = [] { return result<std::vector<std::string>>(std::vector{std::string(100, 'a')}); };
  std::string all;
  for (const auto& element : *list()) all += element;
  for (const auto& element : list().value()) all += element;
  CHECK(all == std::string(200, 'a'));
}

TEST_CASE("a reference to a temporary result's error does not dangle") {
  const auto& e = result<int>(failure(std::string(100, 'm'))).error();
  CHECK(e.message == std::string(100, 'm'));
  const auto& of_nothing = result<void>(failure(std::string(100, 'm'))).error();
  CHECK(of_nothing.message == std::string(100, 'm'));
}

TEST_CASE("rvalues are moved from, lvalues are left alone") {
  result<traveler> r{traveler()};
  CHECK((*std::as_const(r)).copies == 0);
  CHECK((*std::move(r)).copies == 0);
  CHECK(std::move(r).value().copies == 0);
  CHECK(std::move(r).value_or(traveler()).copies == 0);
  CHECK(std::as_const(r).value_or(traveler()).copies == 1);
  CHECK(r.value_or(traveler()).copies == 1);
  result<int> failed = failure(std::string(1000, 'm'));
  const char* const where = failed.error().message.data();
  CHECK(std::move(failed).error().message.data() == where);
  result<void> nothing = failure(std::string(1000, 'm'));
  const char* const here = nothing.error().message.data();
  CHECK(std::move(nothing).error().message.data() == here);
}

// ---- value() -------------------------------------------------------------------------------------------------------

namespace {

template <class F> void check_throws_failure(F&& f) {
  try {
    f();
    FAIL("nothing was thrown");
  } catch (const nango::exception& thrown) {
    check_failure(result<void>(thrown.error()));
    CHECK(thrown.what() == std::string_view("PARAMS_ERROR (HTTP 400): it failed"));
  }
}

}  // namespace

TEST_CASE("value() without a value throws an exception that carries the error") {
  result<int> r = failure();
  check_throws_failure([&] { static_cast<void>(r.value()); });
  check_throws_failure([&] { static_cast<void>(std::as_const(r).value()); });
  check_throws_failure([&] { static_cast<void>(std::move(r).value()); });
  result<void> nothing = failure();
  check_throws_failure([&] { nothing.value(); });
  check_throws_failure([&] { std::as_const(nothing).value(); });
  check_throws_failure([&] { std::move(nothing).value(); });
}

#ifndef _WIN32  // which has no fork
namespace {

// What a process prints on stderr that does `f` and is to end by std::abort.
template <class F> std::string last_words(F&& f) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto child = ::fork();
  if (child == 0) {
    ::signal(SIGABRT, SIG_DFL);  // not doctest's
    ::dup2(ends[1], STDERR_FILENO);
    f();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string words;
  char part[256];
  for (ssize_t size = 0; (size = ::read(ends[0], part, sizeof part)) > 0;) {
    words.append(part, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
  return words;
}

}  // namespace

TEST_CASE("a result without a value that is dereferenced aborts with its error in one line on stderr") {
  const error e{.code = errc::auth_error, .http_status = 401, .message = "no\nsuch key", .request = "GET x"};
  const std::string due =
      "nango: a result without a value was dereferenced: AUTH_ERROR (HTTP 401): no such key [GET x]\n";
  result<std::string> r = e;
  CHECK(last_words([&] { static_cast<void>(*r); }) == due);
  CHECK(last_words([&] { static_cast<void>(*std::as_const(r)); }) == due);
  CHECK(last_words([&] { static_cast<void>(*std::move(r)); }) == due);
  CHECK(last_words([&] { static_cast<void>(r->size()); }) == due);
  CHECK(last_words([&] { static_cast<void>(std::as_const(r)->size()); }) == due);
}

TEST_CASE("an uncaught exception ends the program with its error's message") {
  const auto words = last_words([]() noexcept { result<int>(error{.code = errc::timed_out, .message = "m"}).value(); });
  CHECK(words.find("timed_out: m") != std::string::npos);
}
#endif

// ---- value_or ------------------------------------------------------------------------------------------------------

TEST_CASE("value_or gives the value where there is one") {
  const result<std::string> r = "value";
  CHECK(r.value_or("other") == "value");
  CHECK(result<std::string>(r).value_or("other") == "value");
  CHECK(*r == "value");
}

TEST_CASE("value_or gives its argument, converted, where there is no value") {
  const result<std::string> r = failure();
  CHECK(r.value_or("other") == "other");
  CHECK(r.value_or(std::string("other")) == "other");
  CHECK(result<std::string>(r).value_or("other") == "other");
  std::string other(1000, 'x');
  const char* const where = other.data();
  CHECK(r.value_or(std::move(other)).data() == where);
  CHECK(result<long>(failure()).value_or(2) == 2);
}

// ---- and_then, transform, or_else ----------------------------------------------------------------------------------

namespace {

/// Calls `f` with a copy of `r` in each value category.
template <class R, class F> void on_each_category(const R& r, const F& f) {
  R copy = r;
  {
    INFO("an lvalue");
    f(copy);
  }
  {
    INFO("a constant lvalue");
    f(r);
  }
  INFO("an rvalue");
  f(std::move(copy));
}

result<std::string> spell(int n) { return n >= 0 ? result<std::string>(std::to_string(n)) : failure("negative"); }

}  // namespace

TEST_CASE("and_then passes the value on") {
  on_each_category(result<int>(5), [](auto&& r) {
    CHECK(std::forward<decltype(r)>(r).and_then(spell).value() == "5");  // another type of value
  });
}

TEST_CASE("and_then ends in the error of its function") {
  on_each_category(result<int>(-5),
                   [](auto&& r) { check_failure(std::forward<decltype(r)>(r).and_then(spell), "negative"); });
}

TEST_CASE("and_then passes an error by its function") {
  on_each_category(result<int>(failure()), [](auto&& r) {
    bool called = false;
    const auto f = [&](int n) {
      called = true;
      return spell(n);
    };
    check_failure(std::forward<decltype(r)>(r).and_then(f));
    CHECK_FALSE(called);
  });
}

TEST_CASE("and_then of a result<void> calls its function with nothing") {
  const auto text = [] { return result<std::string>("next"); };
  on_each_category(result<void>(), [&](auto&& r) {
    check_failure(r.and_then([]() -> result<void> { return failure("then"); }), "then");
    CHECK(std::forward<decltype(r)>(r).and_then(text).value() == "next");
  });
  on_each_category(result<void>(failure()), [&](auto&& r) {
    check_failure(r.and_then([]() -> result<void> { return failure("then"); }));
    check_failure(std::forward<decltype(r)>(r).and_then(text));
  });
}

TEST_CASE("transform makes a result of what its function returns") {
  on_each_category(result<int>(5), [](auto&& r) {
    const auto text = std::forward<decltype(r)>(r).transform([](int n) { return std::to_string(n); });
    CHECK(*text == "5");
  });
}

TEST_CASE("transform passes an error by its function") {
  on_each_category(result<int>(failure()), [](auto&& r) {
    bool called = false;
    check_failure(r.transform([&](int) { called = true; }));  // to a result<void>
    check_failure(std::forward<decltype(r)>(r).transform([&](int) { return called = true; }));
    CHECK_FALSE(called);
  });
}

TEST_CASE("transform with a function that returns nothing makes a result<void>") {
  on_each_category(result<int>(5), [](auto&& r) {
    int seen = 0;
    const result<void> done = std::forward<decltype(r)>(r).transform([&](int n) { seen += n; });
    CHECK(done.has_value());
    CHECK(seen == 5);
  });
}

TEST_CASE("transform of a result<void> calls its function with nothing") {
  on_each_category(result<void>(), [](auto&& r) {
    int calls = 0;
    CHECK(r.transform([&] { ++calls; }).has_value());
    CHECK(*std::forward<decltype(r)>(r).transform([&] { return ++calls; }) == 2);
  });
  on_each_category(result<void>(failure()), [](auto&& r) {
    bool called = false;
    check_failure(r.transform([&] { called = true; }));
    check_failure(std::forward<decltype(r)>(r).transform([&] { return called = true; }));
    CHECK_FALSE(called);
  });
}

TEST_CASE("transform keeps a JSON value, a bool and a type without default constructor what they are") {
  const result<int> r = 1;
  CHECK(*r.transform([](int n) { return json::array({n}); }) == json::array({1}));
  CHECK_FALSE(*r.transform([](int n) { return n != 1; }));
  CHECK(r.transform([](int n) { return number(n); })->value == 1);
}

TEST_CASE("or_else passes the value by its function") {
  on_each_category(result<int>(5), [](auto&& r) {
    bool called = false;
    const auto f = [&](const error&) -> result<int> {
      called = true;
      return 6;
    };
    CHECK(*std::forward<decltype(r)>(r).or_else(f) == 5);
    CHECK_FALSE(called);
  });
  on_each_category(result<void>(), [](auto&& r) {
    CHECK(std::forward<decltype(r)>(r).or_else([](const error&) -> result<void> { return failure(); }).has_value());
  });
}

TEST_CASE("or_else passes the error on") {
  on_each_category(result<int>(failure()), [](auto&& r) {
    const auto attempts = [](const error& e) -> result<int> { return e.attempts; };
    CHECK(*std::forward<decltype(r)>(r).or_else(attempts) == 3);
  });
  on_each_category(result<void>(failure()), [](auto&& r) {
    const auto forgive = [](const error& e) { return e.attempts == 3 ? result<void>() : result<void>(e); };
    CHECK(std::forward<decltype(r)>(r).or_else(forgive).has_value());
  });
}

TEST_CASE("or_else ends in the error of its function") {
  const auto reword = [](const error& e) -> result<int> { return failure(e.message + " again"); };
  on_each_category(result<int>(failure()),
                   [&](auto&& r) { check_failure(std::forward<decltype(r)>(r).or_else(reword), "it failed again"); });
}

TEST_CASE("functions get the value as the result is: to be changed, only to be read, or to be taken") {
  result<traveler> r{traveler()};
  SUBCASE("an lvalue, in place") {
    CHECK(r.and_then([&](traveler& t) { return result<bool>(&t == &*r); }).value());
    CHECK(r.transform([&](traveler& t) { return &t == &*r; }).value());
  }
  SUBCASE("a constant lvalue, in place") {
    const auto& constant = r;
    CHECK(constant.and_then([&](const traveler& t) { return result<bool>(&t == &*r); }).value());
    CHECK(constant.transform([&](const traveler& t) { return &t == &*r; }).value());
    const auto is_constant = [](auto& t) { return std::is_const_v<std::remove_reference_t<decltype(t)>>; };
    CHECK(*constant.transform(is_constant));
    CHECK(*constant.and_then([&](auto& t) { return result<bool>(is_constant(t)); }));
    CHECK_FALSE(*r.transform(is_constant));
  }
  SUBCASE("an rvalue, moved") {
    CHECK(std::move(r).and_then([](traveler t) { return result<int>(t.copies); }).value() == 0);
    CHECK(std::move(r).transform([](traveler t) { return t.copies; }).value() == 0);
    CHECK(std::move(r).or_else([](error e) -> result<traveler> { return e; }).value().copies == 0);
  }
}

TEST_CASE("the error of an rvalue is moved along a chain") {
  const auto message = [](const result<int>& r) { return r.error().message.data(); };
  const auto chain = [&](auto&& f) {
    result<int> r = failure(std::string(1000, 'm'));
    const char* const where = message(r);
    CHECK(f(std::move(r)).error().message.data() == where);
  };
  chain([](result<int>&& r) { return std::move(r).and_then(spell); });
  chain([](result<int>&& r) { return std::move(r).transform([](int n) { return 2L * n; }); });
  chain([](result<int>&& r) { return std::move(r).transform([](int) {}); });
  chain([](result<int>&& r) { return std::move(r).or_else([](error&& e) -> result<int> { return std::move(e); }); });
}

TEST_CASE("the error of an lvalue stays through a chain") {
  result<int> r = failure();
  check_failure(r.and_then(spell));
  check_failure(r.transform([](int n) { return n; }));
  check_failure(r.or_else([](const error& e) -> result<int> { return e; }));
  check_failure(r);
}

TEST_CASE("what cannot be copied goes through a chain of rvalues") {
  const auto chain = [](result<move_only> r) {
    return std::move(r)
        .transform([](move_only p) { return std::make_unique<int>(*p + 1); })
        .and_then([](move_only p) -> result<move_only> {
          if (*p > 5) return failure("too much");
          return p;
        })
        .or_else([](error e) -> result<move_only> {
          if (e.message == "too much") return std::make_unique<int>(0);
          return e;
        });
  };
  CHECK(**chain(std::make_unique<int>(1)) == 2);
  CHECK(**chain(std::make_unique<int>(5)) == 0);
  check_failure(chain(failure()));
}

TEST_CASE("a pointer to a member function serves as a function") {
  const result<number> r(4);
  CHECK(*r.transform(&number::twice) == 8);
}

TEST_CASE("functions that cannot be copied serve as functions") {
  const result<int> r = 1, failed = failure();
  const result<void> nothing;
  CHECK(*r.transform([p = std::make_unique<int>(2)](int n) { return n + *p; }) == 3);
  CHECK(*r.and_then([p = std::make_unique<int>(2)](int n) -> result<int> { return n + *p; }) == 3);
  CHECK(*failed.or_else([p = std::make_unique<int>(2)](const error& e) -> result<int> { return e.attempts + *p; }) ==
        5);
  CHECK(*nothing.transform([p = std::make_unique<int>(2)] { return *p; }) == 2);
  CHECK(*nothing.and_then([p = std::make_unique<int>(2)]() -> result<int> { return *p; }) == 2);
}

TEST_CASE("a function that changes itself is called itself, not a copy of it") {
  auto count = [n = 0](auto&&...) mutable { return result<int>(++n); };
  const result<int> r = 1, failed = failure();
  const result<void> nothing;
  CHECK(**r.transform(count) == 1);
  CHECK(*r.and_then(count) == 2);
  CHECK(*failed.or_else(count) == 3);
  CHECK(**nothing.transform(count) == 4);
  CHECK(*nothing.and_then(count) == 5);
}

}  // namespace result_tests
