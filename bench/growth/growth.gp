# Draws CPU for a call over the number of orders; see run.
set terminal svg size 760,420 font "sans-serif,13" background "white"
set output svg
set title "CPU of a call, against that beside the fewest orders"
set xlabel "orders"
set logscale x
set format x "10^{%T}"
set ylabel "ratio"
set yrange [0:2]
set grid
set key left bottom
names = "create\\_order ingest claim(50) sweep(1,000)"
plot for [c = 2:5] points using 1:c with linespoints lw 2 pt 7 ps 0.7 \
         title word(names, c - 1), \
     1.2 with lines dt 2 lc rgb "gray40" title "allowed: 1.2"
