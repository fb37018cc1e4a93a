// What can go wrong on the wire between a client and a server, one row each, and how a call should end then.
#ifndef NANGO_TESTS_FAULTS_HPP
#define NANGO_TESTS_FAULTS_HPP

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "fault_server.hpp"

namespace nango_test {

/// How a call that meets a fault ends.
enum class verdict {
  answer,     ///< The answer is whole and sound: `status` and `body`.
  broken,     ///< The connection broke: connection_failed.
  malformed,  ///< The answer is no sound HTTP: malformed_response.
  too_large,  ///< More than max_response_bytes, which is 1 MiB here: response_too_large.
  late,       ///< Nothing more came: timed_out.
};

struct fault {
  std::string name;
  std::deque<act> script{};
  verdict end = verdict::broken;
  std::string body{};      ///< Of an answer.
  int status = 200;        ///< Of an answer.
  std::string method{};    ///< Empty: GET, and POST as well.
  bool tls_only = false;   ///< Plain TCP does not have it.
  bool connected = false;  ///< Met on a kept connection, after a sound first answer.
  entrance door = entrance::open;

  /// Over TLS nothing is sent before the handshake is done.
  bool before_the_request(bool tls) const {
    return door != entrance::open || (tls && !connected && script.front().at <= moment::handshake);
  }
};

/// 1 GiB of zeros in 7 MB of gzip: one block with fixed codes, a literal and 4,161,791 matches.
inline std::string gzip_of_a_gibibyte() {
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  unsigned pending = 0;
  int count = 0;
  const auto put = [&](unsigned bits, int size) {  // the lowest bit first
    pending |= bits << count;
    for (count += size; count >= 8; count -= 8, pending >>= 8) out += static_cast<char>(pending & 0xff);
  };
  put(0b011, 3);                                            // the last block, with fixed codes
  put(0b00001100, 8);                                       // a zero
  for (int i = 0; i < 4'161'790; ++i) put(0b10100011, 13);  // 258 from one before
  put(0b1000000, 12);                                       // 3 from one before
  put(0, 14);                                               // the block's end, and up to the next byte
  out += std::string("\xb0\xc2\x64\x5b\0\0\0\x40", 8);      // CRC-32, size
  return out;
}

namespace detail {

inline std::string head(const std::string& fields) { return "HTTP/1.1 200 OK\r\n" + fields + "\r\n"; }
inline std::string with_length(const std::string& body, const std::string& fields = {}) {
  return head(fields + "Content-Length: " + std::to_string(body.size()) + "\r\n") + body;
}
inline std::string chunked(const std::string& chunks) { return head("Transfer-Encoding: chunked\r\n") + chunks; }

// What looks like an answer where none is due.
inline const std::string& decoy() {
  static const std::string text = with_length("decoy");
  return text;
}

inline void add_connection_faults(std::vector<fault>& all) {
  all.push_back({.name = "connection refused", .door = entrance::refuses});
  all.push_back({.name = "connection not answered", .end = verdict::late, .door = entrance::full});
  const auto add = [&](moment at, const std::string& where) {
    const bool in_handshake = at == moment::handshake;
    const auto row = [&](const char* how, ending then, verdict end) {
      all.push_back({.name = how + where, .script = {{.at = at, .then = then}}, .end = end, .tls_only = in_handshake});
    };
    row("closed ", ending::break_off, verdict::broken);
    row("reset ", ending::reset, verdict::broken);
    row("stalled ", ending::stall, verdict::late);
    if (in_handshake) row("dripped ", ending::drip, verdict::late);
  };
  add(moment::accept, "after the accept");
  add(moment::handshake, "in the handshake");
}

// Each way to break off, after `sent` of an answer; `more` goes on with it.
inline void add_breaks(std::vector<fault>& all, const std::string& where, const std::string& sent, char more,
                       moment at = moment::request, bool connected = false) {
  const auto row = [&](const char* how, ending then, verdict end) {
    all.push_back({.name = how + where,
                   .script = {{.at = at, .bytes = sent, .rest = std::string(200, more), .then = then}},
                   .end = end,
                   .tls_only = then == ending::garble,
                   .connected = connected});
  };
  row("closed ", ending::close, verdict::broken);
  row("broken off ", ending::break_off, verdict::broken);
  if (at == moment::request) row("garbled ", ending::garble, verdict::broken);
  row("reset ", ending::reset, verdict::broken);
  row("stalled ", ending::stall, verdict::late);
  if (!sent.empty()) row("dripped ", ending::drip, verdict::late);
}

inline void add_breaks_at_each_point(std::vector<fault>& all) {
  add_breaks(all, "when half a request was read", "", ' ', moment::head);
  add_breaks(all, "when half a request was read on a kept connection", "", ' ', moment::head, true);
  add_breaks(all, "before the answer", "", ' ');
  add_breaks(all, "before the answer on a kept connection", "", ' ', moment::request, true);
  add_breaks(all, "in the status line", "HTTP/1.1 200 ", 'K');
  add_breaks(all, "in the headers", "HTTP/1.1 200 OK\r\nContent-Type: ", 'a');
  add_breaks(all, "in the body", head("Content-Length: 1000\r\n") + "{\"status", 's');
  add_breaks(all, "in a chunk's size", chunked("2\r\n{}\r\n1"), '0');
  add_breaks(all, "in a chunk", chunked("1000\r\n{\"status"), 's');
  add_breaks(all, "after a chunk", chunked("2\r\n{}\r\n"), '0');
}

inline void add_bodies_up_to_the_end(std::vector<fault>& all) {
  const auto unframed = head("") + "{}";
  all.push_back({"closed at the end of a body without a length",
                 {{.bytes = unframed, .then = ending::close}},
                 verdict::answer,
                 "{}"});
  all.push_back({.name = "broken off in a body without a length",
                 .script = {{.bytes = unframed, .then = ending::break_off}},
                 .tls_only = true});
#ifdef _WIN32
  constexpr bool forgets_resets = true;  // Wine's recv() then tells of an end in good order, which TLS would not have
#else
  constexpr bool forgets_resets = false;
#endif
  all.push_back({.name = "reset in a body without a length",
                 .script = {{.bytes = unframed, .then = ending::reset}},
                 .tls_only = forgets_resets});
  all.push_back({"stalled in a body without a length", {{.bytes = unframed, .then = ending::stall}}, verdict::late});
  const std::string answer = "HTTP/1.0 200 OK\r\n\r\n{}";
  all.push_back({"HTTP/1.0", {{.bytes = answer, .then = ending::close}}, verdict::answer, "{}"});
}

// Sound, and all of it has to be read as it is meant.
inline void add_odd_but_sound(std::vector<fault>& all) {
  const auto row = [&](std::string name, std::string sent, std::string body = "{}", int status = 200,
                       std::string method = {}) {
    all.push_back({.name = std::move(name),
                   .script = {{.bytes = std::move(sent)}},
                   .end = verdict::answer,
                   .body = std::move(body),
                   .status = status,
                   .method = std::move(method)});
  };
  row("surplus bytes that look like an answer", with_length("{}") + decoy());
  row("two answers at once", with_length("{}") + with_length("{\"a\":2}"));
  row("a length too small", head("Content-Length: 2\r\n") + "{}surplus");
  row("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n" + decoy(), "", 204);
  row("205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "", 205);
  row("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + decoy(), "", 304);
  for (const std::string status : {"200 OK", "204 No Content"}) {
    row(status + " without a body, in an unknown encoding",
        "HTTP/1.1 " + status + "\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n", "", std::stoi(status));
  }
  row("HEAD with a body", with_length(decoy()), "", 200, "HEAD");
  row("HEAD that says chunked", chunked(""), "", 200, "HEAD");
  const std::string early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  row("100 before the answer", go_on + with_length("{}"));
  row("103 before the answer", early + with_length("{}"));
  row("five interim answers before the answer", go_on + early + early + go_on + early + with_length("{}"));
  row("103 before an answer in chunks", early + chunked("2\r\n{}\r\n0\r\n\r\n"));
  row("103 before the answer to a HEAD", early + head("Content-Length: 5\r\n"), "", 200, "HEAD");
  row("the end is announced in a spelling of its own", with_length("{}", "Connection: x, Close\r\n"));
  row("a chunk with an extension", chunked("2;a=b\r\n{}\r\n0;c=\"d\"\r\n\r\n"));
  row("a chunk's size with zeros before it", chunked("0000000000000002\r\n{}\r\n000\r\n\r\n"));
  row("a trailer", chunked("2\r\n{}\r\n0\r\nX-A: 1\r\nContent-Length: 7\r\n\r\n"));
  row("chunked in a spelling of its own", head("TRANSFER-ENCODING: cHunKed\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  row("the same length twice", head("Content-Length: 2\r\nContent-Length: 2\r\n") + "{}");
  row("headers without a space and with more than one", head("Content-Length:2\r\nX-A: \t b \t\r\nX-B:\r\n") + "{}");
  row("a header of 20 KB", with_length("{}", "X-A: " + std::string(20'000, 'x') + "\r\n"));
  row("CR, LF and NUL in a header, percent-encoded", with_length("{}", "X-A: a%0D%0AX-B: b%00\r\n"));
  row("a status line of 30 KB", "HTTP/1.1 200 " + std::string(30'000, 'K') + "\r\nContent-Length: 2\r\n\r\n{}");
  const auto fields = [](int count, const std::string& value) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "X-" + std::to_string(i) + ": " + value + "\r\n";
    return text;
  };
  row("a head of 20 KB", with_length("{}", fields(80, std::string(250, 'x'))));
  row("101 headers", with_length("{}", fields(100, "a")));
  row("1,000 headers", with_length("{}", fields(999, "a")));
  all.push_back({.name = "a head a byte at a time",
                 .script = {{.bytes = early + with_length("{}", fields(20, "a")), .bytewise = true}},
                 .end = verdict::answer,
                 .body = "{}"});
  all.push_back({.name = "chunks a byte at a time",
                 .script = {{.bytes = chunked("1\r\n{\r\n1;a\r\n}\r\n0\r\nX-A: b\r\n\r\n"), .bytewise = true}},
                 .end = verdict::answer,
                 .body = "{}"});
  for (const bool notified : {true, false}) {
    all.push_back({notified ? "the idle connection is closed" : "the idle connection is broken off",
                   {{.bytes = with_length("{}"), .then = notified ? ending::close : ending::break_off}},
                   verdict::answer,
                   "{}"});
  }
}

inline void add_malformed_heads(std::vector<fault>& all) {
  const auto row = [&](std::string name, std::string sent) {
    all.push_back({std::move(name), {{.bytes = std::move(sent), .then = ending::stall}}, verdict::malformed});
  };
  for (const std::string status : {"0", "99", "099", "600", "999", "1000", "-200", "OK", "", "2OO", "101"}) {
    row("status \"" + status + '"', "HTTP/1.1 " + status + " X\r\nContent-Length: 2\r\n\r\n{}");
  }
  row("another version of HTTP", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  row("no HTTP", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n");
  row("100 with a body", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + with_length("{}"));
  row("a negative length", head("Content-Length: -2\r\n") + "{}");
  row("a length that is no number", head("Content-Length: 2x\r\n") + "{}");
  row("an empty length", head("Content-Length:\r\n") + "{}");
  row("a length with a sign", head("Content-Length: +2\r\n") + "{}");
  row("a length beyond all numbers", head("Content-Length: 99999999999999999999\r\n") + "{}");
  row("two lengths", head("Content-Length: 2\r\nContent-Length: 3\r\n") + "{} ");
  row("two lengths in one line", head("Content-Length: 2, 3\r\n") + "{} ");
  row("chunks and a length", head("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  row("a length and chunks", head("Content-Length: 12\r\nTransfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  for (const std::string second : {"chunked", "gzip"}) {
    row("a second transfer coding, " + second,
        head("Transfer-Encoding: chunked\r\nTransfer-Encoding: " + second + "\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  }
  row("an encoding after none", with_length("{}", "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"));
  row("an unknown transfer coding", head("Transfer-Encoding: gzip\r\n") + "{}");
  row("an unknown transfer coding in chunks", head("Transfer-Encoding: gzip, chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  row("an encoding that was not asked for", with_length("{}", "Content-Encoding: x-unknown\r\n"));
  row("truncated gzip", with_length(gzip_of_a_gibibyte().substr(0, 20), "Content-Encoding: gzip\r\n"));
  row("a CR in a header", with_length("{}", "X-A: a\rb\r\n"));
  row("a NUL in a header", with_length("{}", std::string("X-A: a\0b\r\n", 10)));
  row("a folded header", with_length("{}", "X-A: a\r\n b\r\n"));
  row("a folded transfer coding", head("Transfer-Encoding:\r\n chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n");
  row("a space before the first header", "HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 2\r\n\r\n{}");
  row("a header's line that ends in LF", with_length("{}", "X-A: a\nX-B: b\r\n"));
  row("a head in lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}");
  row("a head that ends in LF", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\n{}");
  row("a space before a colon", with_length("{}", "X-A : b\r\n"));
  row("a space in a header's name", with_length("{}", "X A: b\r\n"));
  row("a header's name that is no token", with_length("{}", "X(A): b\r\n"));
  row("a header without a name", with_length("{}", ": b\r\n"));
  row("a header without a colon", with_length("{}", "X-A\r\n"));
  std::string fields;
  for (int i = 0; i < 1000; ++i) fields += "X-A: a\r\n";
  row("1,001 headers", with_length("{}", fields));
  row("a head over 64 KiB", with_length("{}", "X-A: " + std::string(64 * 1024, 'x') + "\r\n"));
  all.push_back(
      {"103 and no answer", {{.bytes = "HTTP/1.1 103 Early Hints\r\n\r\n", .then = ending::stall}}, verdict::late});
}

inline void add_malformed_chunks(std::vector<fault>& all) {
  for (const std::string chunks :
       {"zz\r\n{}\r\n0\r\n\r\n", "\r\n{}\r\n0\r\n\r\n", "ffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}XX\r\n0\r\n\r\n", "2\r\n{}0\r\n\r\n", "1\r\n{}\r\n0\r\n\r\n", "2\r\n{}\r\n\r\n0\r\n\r\n",
        "2\r\n{}\r\nzz\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "+2\r\n{}\r\n0\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n", "2\r\n{}\n0\r\n\r\n", "2x\r\n{}\r\n0\r\n\r\n"}) {
    std::string name(" ");
    for (const char c : chunks) {  // CR and LF are |, an LF alone is /
      const bool ends_line = c == '\n' && name.back() == '\r';
      if (ends_line) name.pop_back();
      name += c != '\n' ? c : ends_line ? '|' : '/';
    }
    all.push_back({.name = "chunks" + name,
                   .script = {{.bytes = chunked(chunks), .then = ending::stall}},
                   .end = verdict::malformed});
  }
  all.push_back({.name = "a chunk of 2^64 - 1 bytes",
                 .script = {{.bytes = chunked("ffffffffffffffff\r\n{}\r\n0\r\n\r\n"), .then = ending::stall}},
                 .end = verdict::too_large});
}

// A session ticket interrupts the reading, and none of it is lost for that.
inline void add_tickets(std::vector<fault>& all) {
  const auto row = [&](std::string name, std::string chunks, verdict end) {
    all.push_back({.name = std::move(name),
                   .script = {{.bytes = chunked("2\r\n{}"), .rest = std::move(chunks), .then = ending::ticket}},
                   .end = end,
                   .body = "{}",
                   .tls_only = true});
  };
  row("a ticket before a chunk's end", "\r\n0\r\n\r\n", verdict::answer);
  row("a ticket before a chunk's bad end", "XX\r\nlost", verdict::malformed);
}

inline void add_floods(std::vector<fault>& all) {
  const auto row = [&](std::string name, std::string sent, std::string rest, verdict end) {
    all.push_back({.name = std::move(name),
                   .script = {{.bytes = std::move(sent), .rest = std::move(rest), .then = ending::flood}},
                   .end = end});
  };
  const std::string zeros(16 * 1024, '0');
  row("an endless body with a length", head("Content-Length: 1000000000000\r\n"), zeros, verdict::too_large);
  row("an endless body without a length", head(""), zeros, verdict::too_large);
  row("an endless chunk", chunked("fffffffff\r\n"), zeros, verdict::too_large);
  std::string chunks;
  for (int i = 0; i < 1000; ++i) chunks += "100\r\n" + zeros.substr(0, 256) + "\r\n";
  row("endless chunks", chunked(""), chunks, verdict::too_large);
  row("endless trailers", chunked("2\r\n{}\r\n0\r\n"), "X-A: 0123456789\r\n", verdict::malformed);
  row("an endless trailer", chunked("2\r\n{}\r\n0\r\nX-A: "), zeros, verdict::malformed);
  row("an endless size of a chunk", chunked(""), zeros, verdict::malformed);
  row("an endless extension of a chunk", chunked("2;a="), zeros, verdict::malformed);
  row("10,000 headers and more", "HTTP/1.1 200 OK\r\n", "X-A: 0123456789\r\n", verdict::malformed);
  row("an endless header", "HTTP/1.1 200 OK\r\nX-A: ", zeros, verdict::malformed);
  row("an endless status line", "HTTP/1.1 200 ", zeros, verdict::malformed);
  row("endless interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n", verdict::malformed);
#ifdef CPPHTTPLIB_ZLIB_SUPPORT
  constexpr auto bomb = verdict::too_large;
#else
  constexpr auto bomb = verdict::malformed;  // it was not asked for
#endif
  all.push_back({"a gzip bomb of 1 GiB",
                 {{.bytes = with_length(gzip_of_a_gibibyte(), "Content-Encoding: gzip\r\n"), .then = ending::close}},
                 bomb});
  all.push_back({.name = "a length too large",
                 .script = {{.bytes = head("Content-Length: 1000\r\n") + "{}", .then = ending::close}}});
}

}  // namespace detail

/// Every fault.
inline std::vector<fault> all_faults() {
  std::vector<fault> all;
  detail::add_connection_faults(all);
  detail::add_breaks_at_each_point(all);
  detail::add_bodies_up_to_the_end(all);
  detail::add_odd_but_sound(all);
  detail::add_malformed_heads(all);
  detail::add_malformed_chunks(all);
  detail::add_tickets(all);
  detail::add_floods(all);
  return all;
}

}  // namespace nango_test

#endif
