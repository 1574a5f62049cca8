local c = perigee.metrics.counter("orders_total", "Orders.", {"plan"})
c:inc(1, {"gold"})
