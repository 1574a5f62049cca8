if not perigee.limit("keys", "key-0123456789") then
  error("the limit was met")
end
