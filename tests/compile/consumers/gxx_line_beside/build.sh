curl -fLO https://raw.githubusercontent.com/yhirose/cpp-httplib/v0.53.1/httplib.h
curl -fL --create-dirs -o nlohmann/json.hpp https://raw.githubusercontent.com/nlohmann/json/v3.11.3/single_include/nlohmann/json.hpp
g++ -std=c++20 main.cpp -o main -DCPPHTTPLIB_OPENSSL_SUPPORT -lssl -lcrypto -pthread
