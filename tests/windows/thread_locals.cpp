// For programs that GCC 12 for mingw-w64 builds: it keeps thread_local objects in memory that it frees at a thread's
// end before their destructors run, where nothing was destroyed before in that thread. (httplib has such an object, a
// std::regex, whose destructor then corrupts the heap.) A destructor that is registered before all others keeps the
// order.

#if defined(__MINGW32__) && defined(__GNUC__) && !defined(__clang__)
extern "C" int __cxa_thread_atexit(void (*destructor)(void*), void* object, void* module);

namespace {
[[gnu::constructor(101)]] void keep_thread_locals_until_destroyed() {
  __cxa_thread_atexit([](void*) {}, nullptr, nullptr);
}
}  // namespace
#endif
