describe("greet", function()
  local gateway = perigee.gateway()

  it("greets by name", function()
    local answer = gateway:get("/greet?name=Ada")
    assert.are.equal(200, answer.status)
    assert.are.equal("Hello, Ada\n", answer.body)
  end)

  it("refuses what is no name", function()
    for _, query in ipairs({ "", "?name=", "?name=%3Cb%3E" }) do
      assert.are.equal(400, gateway:get("/greet" .. query).status)
    end
  end)
end)
