local s = ngx.escape_uri("a b&c=d") .. ngx.encode_base64("a b&c=d")
if #ngx.md5(s) ~= 32 or ngx.unescape_uri("a%20b") ~= "a b" then
  error("not the text")
end
