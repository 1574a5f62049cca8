ngx.log(ngx.ERR, "refused: ", 42, " of ", "key-0123456789")
ngx.log(ngx.DEBUG, "nobody reads this")
