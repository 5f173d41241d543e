-- wrk's requests. Arguments after `--`: the file that bench.requests writes, and a number for the run in digits.
-- A request is a list of parts: texts, `true` for a number that no other request has, milliseconds before now, and
-- lists of values, one for each pass over all requests.
-- Replies that are not a success are counted by status: wrk itself counts those above 399 only, all together.

local requests, run, sent, threads = {}, "", 0, {}
refused = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  requests, run = dofile(arguments[1]), arguments[2]
  for number, parts in ipairs(requests) do
    if #parts == 1 then requests[number] = parts[1] end
  end
end

local function joined(parts)
  local texts = {}
  for number, part in ipairs(parts) do
    if part == true then
      texts[number] = string.format("%s%07d", run, sent)
    elseif type(part) == "number" then
      texts[number] = string.format("%d", os.time() * 1000 - part)
    elseif type(part) == "table" then
      texts[number] = part[math.floor((sent - 1) / #requests) % #part + 1]
    else
      texts[number] = part
    end
  end
  return table.concat(texts)
end

function request()
  sent = sent + 1
  local parts = requests[(sent - 1) % #requests + 1]
  return type(parts) == "string" and parts or joined(parts)
end

function response(status)
  if status < 200 or status > 299 then
    refused[status] = (refused[status] or 0) + 1
  end
end

function done(summary, latency)
  local errors, refusals = summary.errors, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("refused")) do
      refusals[#refusals + 1] = string.format('"%d":%d', status, count)
    end
  end
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%f,"bytes":%d,"p50_ms":%f,"p99_ms":%f,"broken":%d,"refused":{%s}}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.timeout,
    table.concat(refusals, ",")))
end
