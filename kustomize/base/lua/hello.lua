ngx.say("hello from ", os.getenv("POD_NAME") or "perigee")
