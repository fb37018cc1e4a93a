// Macros that other people's headers define, before nango.hpp but after all that it includes.
#pragma once

#ifdef NANGO_NO_HTTPLIB
#include <nlohmann/json.hpp>
#else
#include <fcntl.h>
#include <httplib.h>
#include <nlohmann/json.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#endif
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

// <windows.h> and its company
#define min(a, b) hostile
#define max(a, b) hostile
#define small hostile
#define near hostile
#define far hostile
#define interface hostile
#define ERROR hostile
#undef DELETE  // of <arpa/nameser_compat.h>
#define DELETE hostile
#define IN hostile
#define OUT hostile
#define GetMessage hostile
#define SendMessage hostile
// Apple's AssertMacros.h
#define check(what) hostile
#define verify(what) hostile
#define require(what, label) hostile
// X11
#define Success hostile
#define None hostile
#define Status hostile
#define Bool hostile
// sys/sysmacros.h, the compiler itself, Arduino, <complex.h> and others who are short of names
#define major hostile
#define minor hostile
#define unix hostile
#define linux hostile
#define _B hostile
#define _C hostile
#define A hostile
#define B hostile
#define C hostile
#define D hostile
#define E hostile
#define F hostile
#define G hostile
#define H hostile
#define I hostile
#define J hostile
#define K hostile
#define L hostile
#define M hostile
#define N hostile
#define O hostile
#define P hostile
#define Q hostile
#define R hostile
#define S hostile
#define T hostile
#define U hostile
#define V hostile
#define W hostile
#define X hostile
#define Y hostile
#define Z hostile
