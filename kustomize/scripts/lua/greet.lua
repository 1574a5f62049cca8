ngx.say("Hello, ", ngx.ctx.name)
