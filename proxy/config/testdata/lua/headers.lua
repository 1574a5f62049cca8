ngx.header["X-Served-By"] = "perigee"
