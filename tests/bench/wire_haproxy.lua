-- wire_haproxy.cfg: what makes a request wait.
core.register_action("wait_20_ms", {"http-req"}, function() core.msleep(20) end)
