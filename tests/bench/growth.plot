# Draws the tables that growth.cpp printed:
#
#   gnuplot -e "table='tests/bench/growth.tsv'" tests/bench/growth.plot > tests/bench/growth.svg
#
# "By hand" is httplib with json::parse; "20 ms" is what the server takes.
set terminal svg size 890,580 font 'sans-serif,11' background '#ffffff'
set encoding utf8
set datafile missing '-'
set multiplot layout 2,3 margins 0.07,0.97,0.05,0.94 spacing 0.095,0.14
set logscale xy
set border 3
set grid ytics linecolor '#dddddd' linetype 1
set tics nomirror scale 0
set key top left reverse Left samplen 1.5
set style data linespoints
set linetype 1 linecolor '#999999' linewidth 4
set linetype 2 linecolor '#00aa66' linewidth 2 pointtype 7 pointsize 0.4
set linetype 3 linecolor '#e0b060' linewidth 4
set linetype 4 linecolor '#0066cc' linewidth 2 pointtype 7 pointsize 0.4
set linetype 5 linecolor '#aa3377' linewidth 2 pointtype 7 pointsize 0.4
set linetype 6 linecolor '#cc5533' linewidth 2 pointtype 7 pointsize 0.4

sizes = "('1 kB' 1e3, '32 kB' 32e3, '1 MB' 1e6, '32 MB' 32e6)"
users = "('1' 1, '100' 100, '10,000' 1e4, '1,000,000' 1e6)"
threads = "('1' 1, '4' 4, '16' 16, '64' 64)"
times = "('1 µs' 1, '100 µs' 1e2, '10 ms' 1e4, '1 s' 1e6)"
memory = "('1 kB' 1e3, '100 kB' 1e5, '10 MB' 1e7, '1 GB' 1e9)"
rates = "('10' 10, '1,000' 1e3, '100,000' 1e5)"

set title 'time of a call, by size of answer'
set xtics @sizes
set ytics @times
plot [] [1:1e8] \
  table index 'body' using 1:6 title 'by hand, over TLS' with lines linetype 3, \
  '' index 'body' using 1:7 title 'nango.hpp, over TLS' linetype 4, \
  '' index 'body' using 1:2 title 'json::parse' with lines linetype 1, \
  '' index 'body' using 1:3 title 'nango.hpp' linetype 2, \
  '' index 'body' using 1:5 title 'typed list' linetype 5, \
  '' index 'body' using 1:4 title 'for\_each' linetype 6

set title 'time of a call, by users seen'
set xtics @users
plot [] [1:1e4] \
  table index 'users' using 1:3 title 'all active' with lines linetype 3, \
  '' index 'users' using 1:4 title 'at most 10,000 active' linetype 2

set title 'calls a second, by threads'
set xtics @threads
set ytics @rates
plot [] [10:1e8] \
  table index 'threads' using 1:2 title 'json::parse' with lines linetype 1, \
  '' index 'threads' using 1:3 title 'nango.hpp' linetype 2, \
  '' index 'threads' using 1:4 title 'by hand, 20 ms' with lines linetype 3, \
  '' index 'threads' using 1:5 title 'nango.hpp, 20 ms' linetype 4

set title 'memory above the answer, by its size'
set xtics @sizes
set ytics @memory
plot [] [1e3:1e11] \
  table index 'body' using 1:12 title 'by hand, over TLS' with lines linetype 3, \
  '' index 'body' using 1:13 title 'nango.hpp, over TLS' linetype 4, \
  '' index 'body' using 1:8 title 'json::parse' with lines linetype 1, \
  '' index 'body' using 1:9 title 'nango.hpp' linetype 2, \
  '' index 'body' using 1:11 title 'typed list' linetype 5, \
  '' index 'body' using 1:10 title 'for\_each' linetype 6

set title 'memory kept, by users seen'
set xtics @users
plot [] [1e3:1e10] \
  table index 'users' using 1:5 title 'all active' with lines linetype 3, \
  '' index 'users' using 1:6 title 'at most 10,000 active' linetype 2

set title 'memory kept, by threads'
set xtics @threads
plot [] [1e4:1e8] \
  table index 'threads' using 1:6 title 'by hand, over TLS' with lines linetype 3, \
  '' index 'threads' using 1:7 title 'nango.hpp, over TLS' linetype 4
