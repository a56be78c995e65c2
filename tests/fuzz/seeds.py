"""Where fuzzing begins: a few inputs of each target that reach far into its parser."""

SEEDS: dict[str, list[bytes]] = {
    "command": [
        b"\x03MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb BY=10;RT",
        b'\x03MAIL FROM:<"a b"@[IPv6:::1]> HOLDUNTIL=2030-01-01T00:00:00Z AUTH=<> MT-PRIORITY=-3',
        b"\x03RCPT TO:<@x.test,@y.test:a@xn--bcher-kva.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b",
        b"\x02MAIL FROM:<> REQUIRETLS HOLDFOR=10",
        b"\x02BDAT 10 LAST",
        b"\x02AUTH PLAIN AGEAYg==",
        b"\x02XCLIENT NAME=a ADDR=IPV6:::1 LOGIN=+41",
        b"\x00EHLO [127.0.0.1]",
    ],
    "address": [
        b"<a@b.test>",
        b'<"a\\"b"@[IPv6:::1]>',
        "<ü@bücher.test>".encode(),
        b"<@x.test,@y.test:a@b.test>",
        b"<>",
        b"<postmaster>",
        b"<a@xn--bcher-kva.test>",
    ],
    "chunks": [
        b"BDAT 5\r\nabcdeBDAT 0 LAST\r\n",
        b"DATA\r\n..x\r\n.\r\nNOOP\r\n",
        b"BDAT x\r\n",
        b"RSET\r\nAUTH PLAIN\r\n*\r\nSTARTTLS\r\n",
    ],
    "content": [
        b"a\r\n.\r\nNOOP\r\n",
        b"..a\r\n.b\r\n.\r\n",
        b"\n.\n\r.\r\r\n.\r\n",
        b".\r\n",
    ],
    "proxy": [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 50000 25\r\nEHLO a\r\n",
        b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 50000 25\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\xc3\x50\x00\x19",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x07\x20\x00\x05\x01\x00\x00\x00\x00",
    ],
    "reply": [
        b"250-a\r\n250 b\r\n",
        b"550 5.1.1 no\r\n",
        b"250-a\r\n550 b\r\n",
        b"250\n",
        b"220 \xff\x1b\r\n",
    ],
    "client": [
        b"220 hi\r\n250-a\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n221 bye\r\n",
        b"220 hi\r\n250 a\r\n250 ok\r\n550-no\r\n550 way\r\n503 none\r\n221 bye\r\n",
        b"421 no\r\n",
    ],
    "capabilities": [
        b"mx.test\nSIZE 100\nAUTH PLAIN LOGIN\nAUTH=LOGIN\nLIMITS RCPTMAX=5\nDELIVERBY 10",
        b"mx.test\nFUTURERELEASE 1 2030-01-01T00:00:00Z\nMT-PRIORITY MIXER\nstarttls\nDSN",
    ],
    "sasl": [
        b"\x00",
        b"\x01cD10bHMtZXhwb3J0ZXIsLG49YSxyPWI=\n",
        b"\x02biwsbj1hLHI9Yg==\n\nYz1iaXdzLHI9Yg==",
        b"\x03bixhPWEsAWF1dGg9QmVhcmVyIHgBAQ==\nAQ==",
        b"\x05\nYSBi",
        b"\x06AGEAYg==",
        b"\x07\nYQ==\nYg==",
    ],
    "header": [
        b"From: =?utf-8?q?a=0d=0ab?= <a@b.test>, g: c@d.test;\r\nSubject: x\r\n y\r\n",
        b" folded\r\nno colon\r\nA b: c\r\n: d\r\nSubject: =?x?b?" + b"A" * 50 + b"?=\r\n",
        b'From: (a (b)) "c\\"d" <@r.test:e@[127.0.0.1]>\r\nReceived: x\r\n',
    ],
}
