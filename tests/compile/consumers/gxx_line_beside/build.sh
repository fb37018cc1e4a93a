g++ -std=c++20 main.cpp -o main -DCPPHTTPLIB_OPENSSL_SUPPORT -lssl -lcrypto -pthread
