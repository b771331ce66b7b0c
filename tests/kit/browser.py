"""What Chromium 156 sent to a port of this machine because a web page told it to, byte for byte as it was recorded.

The page chose the bodies: `fetch(url, {method: "POST", mode: "no-cors", body})`, and a form with enctype=text/plain.
The browser asks nobody before it sends these. Other methods and a WebSocket are asked for first, with what follows
here; of `https:` the first bytes are a TLS hello.
"""

from __future__ import annotations

_AGENT = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0"
    b" Safari/537.36\r\n"
)
_LANGUAGES = b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
_BRANDS = b'sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"\r\n'

FETCH = (
    b"POST /FLUSHALL HTTP/1.1\r\nHost: 127.0.0.1:46629\r\nConnection: keep-alive\r\nContent-Length: 108\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n' + _AGENT + _BRANDS + b"Content-Type: text/plain;charset=UTF-8\r\n"
    b"sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: http://localhost:40541\r\nSec-Fetch-Site: cross-site\r\n"
    b"Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\nReferer: http://localhost:40541/\r\n" + _LANGUAGES
    + b"\r\nSET hacked fetch\r\nFLUSHALL\r\n*3\r\n$3\r\nSET\r\n$6\r\nhacked\r\n$1\r\n1\r\n"
    b'{"method":"insert","key":"hacked","value":1}\r\n'
)  # fmt: skip

FORM = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:46629\r\nConnection: keep-alive\r\nContent-Length: 77\r\n"
    b"Cache-Control: max-age=0\r\n" + _BRANDS + b'sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\nContent-Type: text/plain\r\n" + _AGENT + b"Origin: http://localhost:40541\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,*/*;"
    b"q=0.8,application/signed-exchange;v=b3;q=0.7\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Dest: iframe\r\nSec-Fetch-Storage-Access: none\r\nReferer: http://localhost:40541/\r\n" + _LANGUAGES
    + b'x=SET hacked form\r\nFLUSHALL\r\n{"method":"insert","key":"hacked","value":1}\r\n\r\n'
)  # fmt: skip

PREFLIGHT = (
    b"OPTIONS /FLUSHALL HTTP/1.1\r\nHost: 127.0.0.1:46629\r\nConnection: keep-alive\r\nAccept: */*\r\n"
    b"Access-Control-Request-Method: SET\r\nOrigin: http://localhost:40541\r\n" + _AGENT + b"Sec-Fetch-Mode: cors\r\n"
    b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: empty\r\nReferer: http://localhost:40541/\r\n" + _LANGUAGES
)  # fmt: skip

WEB_SOCKET = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:46629\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"
    + _AGENT + b"Upgrade: websocket\r\nOrigin: http://localhost:40541\r\nSec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
    b"Sec-WebSocket-Key: IdTvOcOFeW2tmPI0EUoW1w==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)  # fmt: skip

#: Its first bytes; the rest is random, or the page's.
TLS_HELLO = (
    b"\x16\x03\x01\x07\xa6\x01\x00\x07\xa2\x03\x03\xbf\xee\x97\xd6\x8e\x1b\x8e\x07Fv\xdaU\xe53]\x14\nSET hacked 1\n"
)
