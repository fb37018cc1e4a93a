# The targets nango::core and, where cpp-httplib and OpenSSL 3 are found, nango::nango. Shared by nango-config.cmake and by
# CMakeLists.txt; nlohmann_json::nlohmann_json and Threads::Threads are there, nango_INCLUDE_DIR is where nango.hpp lies.

function(nango_add_target name)
  add_library(${name} INTERFACE IMPORTED)
  target_compile_features(${name} INTERFACE cxx_std_20)
  target_include_directories(${name} INTERFACE "${nango_INCLUDE_DIR}")
  target_link_libraries(${name} INTERFACE nlohmann_json::nlohmann_json Threads::Threads ${ARGN})
endfunction()

if(NOT TARGET nango::core)
  nango_add_target(nango::core)
  target_compile_definitions(nango::core INTERFACE NANGO_NO_HTTPLIB)
endif()

function(nango_add_default_backend)
  find_package(OpenSSL 3.0 QUIET)
  if(NOT TARGET httplib::httplib)
    find_package(httplib QUIET COMPONENTS OpenSSL)
  endif()
  find_package(PkgConfig QUIET)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(NANGO_HTTPLIB QUIET IMPORTED_TARGET cpp-httplib)
  endif()
  find_path(NANGO_HTTPLIB_HEADER_DIR httplib.h)

  set(nango_httplib)
  if(TARGET httplib::httplib)  # the project's own, or upstream's package
    set(nango_httplib httplib::httplib)
  elseif(TARGET PkgConfig::NANGO_HTTPLIB)  # Debian's package
    set(nango_httplib PkgConfig::NANGO_HTTPLIB)
  elseif(OpenSSL_FOUND AND NANGO_HTTPLIB_HEADER_DIR)  # a plain header, which needs its switches
    set(nango_httplib nango::httplib)
    add_library(nango::httplib INTERFACE IMPORTED)
    target_include_directories(nango::httplib INTERFACE "${NANGO_HTTPLIB_HEADER_DIR}")
    target_compile_definitions(nango::httplib INTERFACE CPPHTTPLIB_OPENSSL_SUPPORT)
  endif()
  if(OpenSSL_FOUND AND nango_httplib)
    set(nango_system $<$<PLATFORM_ID:Windows>:ws2_32> $<$<PLATFORM_ID:Windows>:crypt32>)
    nango_add_target(nango::nango ${nango_httplib} OpenSSL::SSL OpenSSL::Crypto ${nango_system})
  endif()
endfunction()
