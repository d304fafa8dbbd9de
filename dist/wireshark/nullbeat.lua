-- Wireshark dissectors for what goes between two nodes: Heartbeat's messages, and nullbeat's compact frames
-- (docs/protocol.md). Digests are shown, not checked: Wireshark has no key.
--
--   tshark -X lua_script:nullbeat.lua -r capture.pcap -V
--
-- On UDP port 694 each packet is told apart by its first byte. A capture of a serial line has link type USER 0 (147), one
-- packet for each stretch of bytes between two zeros; the zeros may be there or not.

local heartbeat = Proto("heartbeat", "Linux-HA Heartbeat")
local compact = Proto("nullbeat", "nullbeat compact frame")

---------------------------------------------------------------------------------------------------------------------------
-- Heartbeat

local hf = {
    format = ProtoField.string("heartbeat.format", "Format"),
    name = ProtoField.string("heartbeat.name", "Name"),
    value = ProtoField.string("heartbeat.value", "Value"),
    binary = ProtoField.bytes("heartbeat.binary", "Value"),
    field = ProtoField.string("heartbeat.field", "Field"),
    type = ProtoField.string("heartbeat.t", "Type"),
    src = ProtoField.string("heartbeat.src", "Source"),
    dest = ProtoField.string("heartbeat.dest", "Destination"),
    seq = ProtoField.uint64("heartbeat.seq", "Sequence number", base.HEX),
    generation = ProtoField.uint32("heartbeat.hg", "Generation", base.HEX),
    status = ProtoField.string("heartbeat.st", "Status"),
    signature = ProtoField.string("heartbeat.signature", "Signature"),
}
heartbeat.fields = hf
local heartbeat_bad = ProtoExpert.new("heartbeat.malformed", "Not a message", expert.group.MALFORMED, expert.severity.ERROR)
heartbeat.experts = { heartbeat_bad }

local kinds_of_field = { [0] = "string", "binary", "struct", "list", "compressed" }

-- One field: `range` is all of it, the value begins at `at` (from 0).
local function heartbeat_field(tree, range, kind, name, value)
    local shown = kind == 0 and value:string() or value:len() .. " bytes"
    local item = tree:add(hf.field, range, name .. "=" .. shown)
    item:append_text(kind == 0 and "" or " (" .. (kinds_of_field[kind] or "unknown") .. ")")
    item:add(hf.name, range, name)
    if kind == 0 or kind == 3 then
        item:add(hf.value, value)
    elseif value:len() > 0 then
        item:add(hf.binary, value)
    end
    return shown
end

local function heartbeat_known(tree, range, name, text, known)
    known[name] = known[name] or text
    if name == "t" then
        tree:add(hf.type, range, text)
    elseif name == "src" then
        tree:add(hf.src, range, text)
    elseif name == "dest" then
        tree:add(hf.dest, range, text)
    elseif name == "st" then
        tree:add(hf.status, range, text)
    elseif name == "seq" and text:match("^%x+$") and #text <= 16 then
        tree:add(hf.seq, range, UInt64.fromhex(text))
    elseif name == "hg" and text:match("^%x+$") and #text <= 8 then
        tree:add(hf.generation, range, tonumber(text, 16))
    elseif name == "auth" then
        tree:add(hf.signature, range, text)
    end
end

-- `###\n`, LEN:(T)name=value, …, `%%%\n`, LEN:signature,
local function netstring(buffer, tree, known)
    local bytes, at, is_ended = buffer:raw(), 4, false
    while at < #bytes do
        if bytes:sub(at + 1, at + 4) == "%%%\n" then
            at, is_ended = at + 4, true
        end
        local digits = bytes:match("^(%d+):", at + 1)
        if not digits or #digits > 6 then
            return is_ended and at == #bytes
        end
        local start, len = at + #digits + 1, tonumber(digits)
        if bytes:sub(start + len + 1, start + len + 1) ~= "," or len == 0 then
            return false
        end
        local text, whole = bytes:sub(start + 1, start + len), buffer(at, #digits + 2 + len)
        if is_ended then
            tree:add(hf.signature, whole, text)
            return true
        end
        local kind, name = text:match("^%((%d)%)([^=]+)=")
        if not kind then
            return false
        end
        local skip = 3 + #name + 1
        local value = buffer(start + skip, len - skip)
        local shown = heartbeat_field(tree, whole, tonumber(kind), name, value)
        if kind == "0" then
            heartbeat_known(tree, whole, name, shown, known)
        end
        at = start + len + 1
    end
    return false
end

-- Lines between `>>>` and `<<<`
local function classic(buffer, tree, known)
    local bytes, at = buffer:raw(), 4
    while at < #bytes do
        local stop = bytes:find("\n", at + 1, true)
        if not stop then
            return false
        end
        local line = bytes:sub(at + 1, stop - 1)
        if line == "<<<" then
            return true
        end
        local kind, name, text = line:match("^%((%d)%)([^=]+)=(.*)$")
        if not kind then
            kind, name, text = "0", line:match("^([^=]+)=(.*)$")
        end
        if line ~= "" then
            if not name then
                return false
            end
            local range = buffer(at, #line)
            local value = buffer(at + #line - #text, #text)
            heartbeat_field(tree, range, tonumber(kind), name, value)
            if kind == "0" then
                heartbeat_known(tree, range, name, text, known)
            end
        end
        at = stop
    end
    return false
end

function heartbeat.dissector(buffer, info, root)
    local start = buffer:len() >= 4 and buffer(0, 4):raw() or ""
    local read = start == "###\n" and netstring or start == ">>>\n" and classic
    if not read then
        return 0
    end
    info.cols.protocol = "Heartbeat"
    local tree, known = root:add(heartbeat, buffer()), {}
    tree:add(hf.format, buffer(0, 4), read == netstring and "netstring" or "classic")
    if not read(buffer, tree, known) then
        tree:add_proto_expert_info(heartbeat_bad)
    end
    local words = { known.t or "?", known.src and "from " .. known.src, known.dest and "to " .. known.dest, known.st }
    local text = {}
    for index = 1, 4 do
        if words[index] then
            text[#text + 1] = words[index]
        end
    end
    info.cols.info = table.concat(text, " ")
    return buffer:len()
end

---------------------------------------------------------------------------------------------------------------------------
-- Compact frames

-- What stands in `names`, from this number on.
local function numbered(first, names, into)
    for index, name in ipairs(names) do
        into[first + index - 1] = name
    end
    return into
end

local kinds = numbered(1, { "call", "answer", "beat", "everything" }, {})
numbered(8, {
    "NS_ackmsg", "NS_rexmit", "NS_nak_rexmit", "reqnodes", "repnodes", "addnode", "delnode", "setweight", "setsite",
    "starting", "resource", "ask_resources", "hb_takeover", "ip-request", "ip-request-resp", "shutdone", "stonith", "ipfail",
    "query-cstatus", "respond-cstatus", "piece",
}, kinds)
local statuses = { [0] = "init", "up", "active", "none" }
local lines = { [0] = "none", "down", "up" }
local states = { [0] = "unknown", "stopped", "starting", "running", "stopping", "start failed", "stop failed" }
local causes = {
    [0] = "none", "startup", "death", "goodbye", "failback", "operator", "start failure", "split brain", "shutdown", "script",
    "upstream", "health",
}
local pages = numbered(12, {
    "counts", "digest of ha.cf", "digest of haresources", "dead time", "watchdog lease", "moment", "health",
    "spent groups, high half", "spent groups, low half", "wall clock",
}, {})
for page = 0, 7 do
    pages[page] = "groups " .. 8 * page .. " to " .. 8 * page + 7
end
for page = 8, 11 do
    pages[page] = "links " .. 4 * (page - 8) .. " to " .. 4 * (page - 8) + 3
end

local cf = {
    kind = ProtoField.uint8("nullbeat.kind", "Kind", base.DEC, kinds, 0x1f),
    addressed = ProtoField.bool("nullbeat.addressed", "For the addressee only", 8, nil, 0x40),
    answerer = ProtoField.bool("nullbeat.from_answerer", "From the side that has answered", 8, nil, 0x80),
    version = ProtoField.uint8("nullbeat.version", "Version"),
    key = ProtoField.uint8("nullbeat.key", "Key number"),
    uuid = ProtoField.guid("nullbeat.uuid", "Uuid"),
    generation = ProtoField.uint32("nullbeat.generation", "Generation", base.HEX),
    seq = ProtoField.uint64("nullbeat.seq", "Sequence number", base.HEX),
    ts = ProtoField.uint32("nullbeat.ts", "Wall clock"),
    nonce = ProtoField.bytes("nullbeat.nonce", "Nonce"),
    echo_nonce = ProtoField.bytes("nullbeat.echo_nonce", "Nonce that is answered"),
    name = ProtoField.string("nullbeat.name", "Name"),
    address = ProtoField.uint8("nullbeat.address", "Address", base.HEX),
    counter = ProtoField.uint16("nullbeat.counter", "Counter, lower half"),
    piece_at = ProtoField.uint16("nullbeat.piece.at", "Place in the client's message"),
    piece_total = ProtoField.uint16("nullbeat.piece.total", "Length of the client's message"),
    seq_low = ProtoField.uint16("nullbeat.seq_low", "Sequence number, lower half", base.HEX),
    echo_low = ProtoField.uint16("nullbeat.echo_low", "Echo, lower half", base.HEX),
    status = ProtoField.uint8("nullbeat.status", "Status", base.DEC, statuses, 0x03),
    hears = ProtoField.bool("nullbeat.hears_partner", "Hears the partner", 8, nil, 0x04),
    stable = ProtoField.bool("nullbeat.stable", "Stable", 8, nil, 0x08),
    held = ProtoField.bool("nullbeat.held", "Held by an operator", 8, nil, 0x10),
    yielding = ProtoField.bool("nullbeat.yielding", "Yields", 8, nil, 0x20),
    asking = ProtoField.bool("nullbeat.asking", "Asks", 8, nil, 0x40),
    has_echo = ProtoField.bool("nullbeat.has_echo", "Echo is valid", 8, nil, 0x80),
    epoch = ProtoField.uint8("nullbeat.epoch", "Epoch"),
    page = ProtoField.uint8("nullbeat.page", "Page", base.DEC, pages, 0x1f),
    count = ProtoField.uint8("nullbeat.pages", "Pages", base.DEC, nil, 0x1f),
    current = ProtoField.bool("nullbeat.current", "Nothing else has changed", 8, nil, 0x20),
    line = ProtoField.uint8("nullbeat.owner_line", "Own line owner", base.DEC, lines, 0xc0),
    content = ProtoField.bytes("nullbeat.content", "Page"),
    group = ProtoField.string("nullbeat.group", "Group"),
    age = ProtoField.string("nullbeat.age", "Link"),
    number = ProtoField.uint32("nullbeat.number", "Number"),
    stalled = ProtoField.uint16("nullbeat.stalled", "Stalled, ms"),
    cause = ProtoField.uint8("nullbeat.cause", "Why holdings changed", base.DEC, causes),
    news = ProtoField.string("nullbeat.news", "News"),
    payload = ProtoField.bytes("nullbeat.payload", "Fields"),
    tag = ProtoField.bytes("nullbeat.tag", "Digest"),
    crc = ProtoField.uint16("nullbeat.crc", "Checksum", base.HEX),
}
compact.fields = cf
local bad_crc = ProtoExpert.new("nullbeat.bad_crc", "Wrong checksum", expert.group.CHECKSUM, expert.severity.ERROR)
local no_frame = ProtoExpert.new("nullbeat.no_frame", "No frame", expert.group.MALFORMED, expert.severity.ERROR)
compact.experts = { bad_crc, no_frame }

-- CRC-16/IBM-SDLC, also called X-25.
local function crc16(bytes)
    local crc = 0xffff
    for index = 1, #bytes do
        crc = bit.bxor(crc, bytes:byte(index))
        for _ = 1, 8 do
            crc = bit.band(crc, 1) == 1 and bit.bxor(bit.rshift(crc, 1), 0x8408) or bit.rshift(crc, 1)
        end
    end
    return bit.band(bit.bnot(crc), 0xffff)
end

local function age(code)
    if code == 255 then
        return "never heard"
    elseif code < 8 then
        return code .. " ms"
    end
    return string.format("%.0f ms", (8 + code % 8) * 2 ^ (math.floor(code / 8) - 1))
end

local function page_content(tree, index, content)
    local item = tree:add(cf.content, content)
    item:prepend_text((pages[index] or "unknown") .. ": ")
    for place = 0, 3 do
        local byte = content(place, 1)
        local value = byte:uint()
        if index < 8 then
            for half = 0, 1 do
                local nibble = half == 0 and math.floor(value / 16) or value % 16
                local text = 8 * index + 2 * place + half .. " " .. (states[nibble % 8] or "invalid")
                item:add(cf.group, byte, text .. (nibble >= 8 and ", claimed" or ""))
            end
        elseif index < 12 then
            item:add(cf.age, byte, 4 * (index - 8) + place .. " " .. age(value))
        end
    end
    if index == 17 then
        item:add(cf.stalled, content(0, 2))
        item:add(cf.cause, content(2, 1))
    elseif index > 12 and index ~= 18 then
        item:add(cf.number, content)
    end
end

-- What every beat has, and the byte with the page's number or how many pages there are.
local function fast(tree, buffer, is_beat)
    tree:add(cf.echo_low, buffer(0, 2))
    for _, field in ipairs({ "status", "hears", "stable", "held", "yielding", "asking", "has_echo" }) do
        tree:add(cf[field], buffer(2, 1))
    end
    tree:add(cf.epoch, buffer(3, 1))
    tree:add(is_beat and cf.page or cf.count, buffer(4, 1))
    tree:add(cf.current, buffer(4, 1))
    tree:add(cf.line, buffer(4, 1))
    return statuses[buffer(2, 1):uint() % 4], buffer(4, 1):uint() % 32
end

local function everything(tree, buffer)
    local status, count = fast(tree, buffer, false)
    local at = 5
    for _ = 1, count do
        page_content(tree, buffer(at, 1):uint(), buffer(at + 1, 4))
        at = at + 5
    end
    local len = buffer(at, 1):uint()
    if len > 0 then
        tree:add(cf.news, buffer(at + 1, len))
    end
    return status
end

local function hello(tree, buffer, is_answer)
    tree:add(cf.version, buffer(1, 1))
    tree:add(cf.key, buffer(2, 1))
    tree:add(cf.uuid, buffer(3, 16))
    tree:add(cf.generation, buffer(19, 4))
    tree:add(cf.seq, buffer(23, 8))
    tree:add(cf.ts, buffer(31, 4))
    tree:add(cf.nonce, buffer(35, 16))
    local at = 51
    if is_answer then
        tree:add(cf.echo_nonce, buffer(51, 16))
        at = 67
    end
    local name = buffer(at + 1, buffer(at, 1):uint())
    tree:add(cf.name, name)
    return "of " .. name:string()
end

local function session(tree, buffer, kind)
    tree:add(cf.addressed, buffer(0, 1))
    tree:add(cf.answerer, buffer(0, 1))
    tree:add(cf.address, buffer(1, 1))
    tree:add(cf.counter, buffer(2, 2))
    tree:add(cf.seq_low, buffer(4, 2))
    local payload = buffer(6, buffer:len() - 6)
    if kind == 3 then
        local status, page = fast(tree, payload, true)
        page_content(tree, page, payload(5, 4))
        return status .. ", " .. (pages[page] or "?")
    elseif kind == 4 then
        return everything(tree, payload)
    end
    if kind == 28 then
        tree:add(cf.piece_at, payload(0, 2))
        tree:add(cf.piece_total, payload(2, 2))
        tree:add(cf.payload, payload(4))
        return "at " .. payload(0, 2):uint() .. " of " .. payload(2, 2):uint()
    end
    tree:add(cf.ts, payload(0, 4))
    if payload:len() > 4 then
        tree:add(cf.payload, payload(4))
    end
    return ""
end

-- A frame without what a serial line adds.
local function frame(buffer, info, root)
    local tree = root:add(compact, buffer)
    info.cols.protocol = "nullbeat"
    local first = buffer:len() > 10 and buffer(0, 1):uint() or 0
    local kind = first % 32
    local tag_len = kind < 3 and 16 or 8
    local len = buffer:len() - 2 - tag_len
    if not kinds[kind] or len < (kind < 3 and 52 or 6) then
        tree:add_proto_expert_info(no_frame)
        info.cols.info = "no frame"
        return
    end
    tree:add(cf.kind, buffer(0, 1))
    local crc = buffer(buffer:len() - 2, 2)
    if crc16(buffer:raw(0, buffer:len() - 2)) ~= crc:uint() then
        tree:add(cf.crc, crc):add_proto_expert_info(bad_crc)
        info.cols.info = kinds[kind] .. " with a wrong checksum"
        return
    end
    local inner = buffer(0, len)
    local is_read, words = pcall(function()
        return kind < 3 and hello(tree, inner, kind == 2) or session(tree, inner, kind)
    end)
    if not is_read then
        tree:add_proto_expert_info(no_frame)
    end
    tree:add(cf.tag, buffer(len, tag_len))
    tree:add(cf.crc, crc)
    info.cols.info = kinds[kind] .. (is_read and words ~= "" and " " .. words or "")
end

-- Takes the byte stuffing out; nil when it is none.
local function unstuff(bytes)
    local out, at = {}, 1
    while at <= #bytes do
        local code = bytes:byte(at)
        local next = at + code
        if code == 0 or next > #bytes + 1 then
            return nil
        end
        out[#out + 1] = bytes:sub(at + 1, next - 1)
        if next <= #bytes then
            out[#out + 1] = "\0"
        end
        at = next
    end
    return table.concat(out)
end

function compact.dissector(buffer, info, root)
    frame(buffer(), info, root)
    return buffer:len()
end

local serial = Proto("nullbeat_serial", "nullbeat's serial line")
local no_stuffing = ProtoExpert.new("nullbeat_serial.garbage", "Garbage", expert.group.MALFORMED, expert.severity.WARN)
serial.experts = { no_stuffing }

function serial.dissector(buffer, info, root)
    local bytes = buffer:raw()
    if bytes:match("^>>>\n") then
        return heartbeat.dissector(buffer, info, root)
    end
    local tree = root:add(serial, buffer())
    local body = unstuff(bytes:gsub("^%z+", ""):gsub("%z+$", ""), nil)
    if not body or body == "" then
        info.cols.protocol = "nullbeat"
        info.cols.info = "garbage"
        tree:add_proto_expert_info(no_stuffing)
        return buffer:len()
    end
    local array = ByteArray.new(body, true)
    frame(array:tvb("Frame")(), info, root)
    return buffer:len()
end

local either = Proto("nullbeat_udp", "Heartbeat or nullbeat")
function either.dissector(buffer, info, root)
    local start = buffer:len() >= 4 and buffer(0, 4):raw() or ""
    if start == "###\n" or start == ">>>\n" then
        return heartbeat.dissector(buffer, info, root)
    end
    return compact.dissector(buffer, info, root)
end

DissectorTable.get("udp.port"):add(694, either)
DissectorTable.get("wtap_encap"):add(wtap.USER0, serial)
