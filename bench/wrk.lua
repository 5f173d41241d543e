-- wrk's requests. Arguments after `--`: kind, file of cases (JSON lines: token, trip, login), password, name of the run.
-- Replies are not checked: wrk itself counts those that are not a success.

local cases, kind, password, run, sent = {}, nil, nil, nil, 0
local paths = { todo = "/todos", chat = "/chat/messages", position = "/locations", positions = "/locations:batch" }
-- As in bench.driver: a user who stays within ten metres.
local POSITIONS = 50

local function position(number)
  return string.format('{"latitude":41.14%04d,"longitude":-8.61,"accuracy":8,"privacy":"precise"}', number % 10)
end

local function body()
  if kind == "position" then return position(sent) end
  if kind == "chat" then return string.format('{"content":"on my way, %s for %d"}', run, sent) end
  if kind ~= "positions" then
    -- The same text twice within half a minute would be a replay, which is not measured here.
    return string.format('{"text":"pack %s for %d"}', run, sent)
  end
  local now_ms, list = os.time() * 1000, {}
  for number = 1, POSITIONS do
    list[number] = string.format('%s,"timestamp":%d}', position(number):sub(1, -2), now_ms - (POSITIONS - number) * 2000)
  end
  return '{"locations":[' .. table.concat(list, ",") .. ']}'
end

local function read(path)
  for line in io.lines(path) do
    local token, trip, login = line:match('%["([^"]+)", "([^"]+)", "([^"]+)"%]')
    cases[#cases + 1] = { token = token, trip = trip, login = login }
  end
end

local function headers(case)
  return { ["authorization"] = "Bearer " .. case.token, ["content-type"] = "application/json" }
end

-- Constant requests are formatted once, so that wrk leaves the CPU to the servers.
local function prepare(case)
  if kind == "trips" then
    case.request = wrk.format("GET", "/v1/trips", headers(case))
  elseif kind == "trip" then
    case.request = wrk.format("GET", "/v1/trips/" .. case.trip, headers(case))
  elseif kind == "login" then
    local body = string.format('{"email":"%s","password":"%s"}', case.login, password)
    case.request = wrk.format("POST", "/v1/auth/login", { ["content-type"] = "application/json" }, body)
  else
    case.headers = headers(case)
    case.path = "/v1/trips/" .. case.trip .. paths[kind]
  end
end

function init(arguments)
  kind, password, run = arguments[1], arguments[3], arguments[4]
  read(arguments[2])
  for _, case in ipairs(cases) do prepare(case) end
end

function request()
  sent = sent + 1
  local case = cases[sent % #cases + 1]
  if case.request then return case.request end
  return wrk.format("POST", case.path, case.headers, body())
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
