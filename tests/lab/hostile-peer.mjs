// A peer that means no good. Sends mutated input of one kind to a gateway and prints one JSON line about what came back.
//   node hostile-peer.mjs KIND '{"address":..., "port":..., "runs":..., "seed":..., "user":..., "password":...}'
// The same seed sends the same input.
import { createSocket } from 'node:dgram'
import { connect } from 'node:tls'

const [, , kind, json] = process.argv
const { address, port, runs, seed, user, password } = JSON.parse(json)
const latin1 = text => Buffer.from(text, 'latin1')

// ---- randomness (xorshift32) and mutation

let state = seed >>> 0 || 1
function random(below) {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  state >>>= 0
  return state % below
}
const pick = list => list[random(list.length)]

const nasty = [
  latin1('\r\n'),
  latin1('\r\n\r\n'),
  latin1('\0'),
  latin1('%00'),
  latin1('<'),
  latin1('&#0;'),
  latin1('<!DOCTYPE a [<!ENTITY b "c">]>'),
  latin1('Content-Length: 99999999\r\n'),
  latin1('Content-Length: -1\r\n'),
  latin1('Transfer-Encoding: chunked\r\n'),
  latin1('Cookie: webvpn=%\r\n'),
  latin1('STF\x01\xff\xff\x00\x00'),
  Buffer.alloc(300, 0x41),
  Buffer.alloc(4, 0xff),
  Buffer.alloc(8),
]

function mutate(original) {
  let bytes = Buffer.from(original)
  for (let n = 1 + random(4); n > 0 && bytes.length > 0; n -= 1) {
    const at = random(bytes.length)
    const length = 1 + random(Math.min(16, bytes.length - at))
    switch (random(6)) {
      case 0:
        bytes[at] ^= 1 << random(8)
        break
      case 1:
        bytes[at] = random(256)
        break
      case 2: // cut a piece out
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
        break
      case 3: // repeat a piece
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
        break
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), pick(nasty), bytes.subarray(at)])
        break
      default: // end early
        if (random(4) === 0) bytes = bytes.subarray(0, at)
    }
  }
  return bytes
}

// ---- HTTP

const xml = (type, inner) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<config-auth client="vpn" type="${type}" aggregate-auth-version="2">` +
  `<version who="vpn">v9.01</version><device-id>linux-64</device-id>${inner}</config-auth>`
const init = xml('init', `<group-access>https://${address}/</group-access>`)
const reply = (name, word) => xml('auth-reply', `<auth><username>${name}</username><password>${word}</password></auth>`)

function post(path, body, cookies = '') {
  return latin1(
    `POST ${path} HTTP/1.1\r\nHost: ${address}\r\nUser-Agent: Open AnyConnect VPN Agent v9.01-3\r\n${cookies}` +
      'Accept: */*\r\nX-Transcend-Version: 1\r\nX-Aggregate-Auth: 1\r\nX-Support-HTTP-Auth: true\r\n' +
      `Content-Type: application/xml; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function tunnelRequest(cookie) {
  return latin1(
    `CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: ${address}\r\nUser-Agent: Open AnyConnect VPN Agent v9.01-3\r\n` +
      `Cookie: webvpn=${cookie}\r\nX-CSTP-Version: 1\r\nX-CSTP-Hostname: stranger\r\nX-CSTP-Base-MTU: 1500\r\nX-CSTP-MTU: 1390\r\n` +
      'X-CSTP-Address-Type: IPv6,IPv4\r\nX-CSTP-Full-IPv6-Capability: true\r\nX-DTLS-CipherSuite: PSK-NEGOTIATE\r\n\r\n',
  )
}

const requests = [
  post('/', init),
  post('/auth', reply('alice', 'nonsense')),
  latin1(`GET / HTTP/1.1\r\nHost: ${address}\r\n\r\n`),
  latin1(
    `POST /auth HTTP/1.1\r\nHost: ${address}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\nusername=alice&password=wrong`,
  ),
  tunnelRequest('AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'),
]

let ticket
function open() {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, rejectUnauthorized: false, session: ticket }, () => resolve(socket))
    socket.on('session', value => (ticket = value))
    socket.on('error', reject)
  })
}

// Sends bytes, says that there will be no more, and waits until the gateway has closed as well.
async function oneRequest(bytes, results) {
  const socket = await open().catch(() => undefined)
  if (!socket) {
    results.refused += 1
    return
  }
  let answer = ''
  await new Promise(resolve => {
    const timer = setTimeout(() => {
      results.hanging += 1
      socket.destroy()
    }, 10_000)
    socket.on('data', chunk => {
      if (answer.length < 16) answer += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.end(bytes)
  })
  const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 'closed'
  results.answers[status] = (results.answers[status] ?? 0) + 1
}

async function http() {
  const results = { answers: {}, refused: 0, hanging: 0 }
  let left = runs
  const worker = async () => {
    while (left > 0) {
      left -= 1
      await oneRequest(mutate(pick(requests)), results)
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  return results
}

// ---- a session of one's own, over the stream channel alone

async function exchange(socket, bytes) {
  socket.write(bytes)
  let text = ''
  for (;;) {
    const chunk = socket.read()
    if (chunk === null) {
      await new Promise((resolve, reject) => {
        socket.once('readable', resolve)
        socket.once('close', () => reject(new Error(`closed after: ${text.slice(0, 80)}`)))
      })
      continue
    }
    text += chunk.toString('latin1')
    const end = text.indexOf('\r\n\r\n')
    if (end < 0) continue
    const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? 0)
    if (text.length >= end + 4 + length) return text
  }
}

async function logIn() {
  const socket = await open()
  socket.on('error', () => {})
  const cookies = text => [...text.matchAll(/^set-cookie: *([^=]+)=([^;\r]*)/gim)].map(match => [match[1], match[2]])
  const jar = new Map(cookies(await exchange(socket, post('/', init))))
  const line = () => `Cookie: ${[...jar].map(pair => pair.join('=')).join('; ')}\r\n`
  const done = await exchange(socket, post('/auth', reply(user, password), jar.size > 0 ? line() : ''))
  for (const [name, value] of cookies(done)) jar.set(name, value)
  socket.destroy()
  if (!jar.get('webvpn')) throw new Error(`no session: ${done.slice(0, 400)}`)
  return jar.get('webvpn')
}

async function openTunnel(cookie) {
  const socket = await open()
  socket.on('error', () => {})
  const answer = await exchange(socket, tunnelRequest(cookie)).catch(error => error.message)
  if (!/^HTTP\/1\.1 200/.test(answer)) {
    socket.destroy()
    return undefined
  }
  // What the gateway sends is not looked at.
  socket.resume()
  const header = name => new RegExp(`^${name}: *(\\S+)`, 'im').exec(answer)?.[1]
  const lease = header('X-CSTP-Address') ?? '0.0.0.0'
  return { socket, lease: lease.split('.').map(Number), appId: header('X-DTLS-App-ID') ?? '' }
}

function frame(type, payload) {
  const header = Buffer.from([0x53, 0x54, 0x46, 1, 0, 0, type, 0])
  header.writeUInt16BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

// Sends items over tunnels, opening a new one (and a new session, where the last one ended) whenever one is closed.
async function throughTunnels(makeBytes) {
  const results = { sessions: 0, tunnels: 0, sent: 0 }
  let cookie
  let refusals = 0
  while (results.sent < runs) {
    if (!cookie) {
      cookie = await logIn()
      results.sessions += 1
    }
    const tunnel = await openTunnel(cookie)
    if (!tunnel) {
      // The session may have ended with the last tunnel; a new one must get its tunnel.
      refusals += 1
      if (refusals === 3) throw new Error('three sessions in a row got no tunnel')
      cookie = undefined
      continue
    }
    refusals = 0
    results.tunnels += 1
    const { socket, lease } = tunnel
    let closed = false
    const gone = new Promise(resolve => {
      socket.on('close', () => {
        closed = true
        resolve()
      })
    })
    while (!closed && results.sent < runs) {
      results.sent += 1
      if (!socket.write(makeBytes(lease))) await Promise.race([new Promise(done => socket.once('drain', done)), gone])
      // Lets a close by the gateway be seen.
      if (results.sent % 16 === 0) await new Promise(done => setImmediate(done))
    }
    if (!closed) socket.end()
    await gone
  }
  return results
}

// ---- inner packets

function ipv4(source, destination, protocol, payload) {
  const header = Buffer.alloc(20)
  header[0] = 0x45
  header.writeUInt16BE(20 + payload.length, 2)
  header[8] = 64
  header[9] = protocol
  Buffer.from(source).copy(header, 12)
  Buffer.from(destination).copy(header, 16)
  let sum = 0
  for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  header.writeUInt16BE(~sum & 0xffff, 10)
  return Buffer.concat([header, payload])
}

const corporate = [10, 2, 0, 2]
const udp = Buffer.from([0x9c, 0x40, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4])
const tcp = Buffer.from([0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4])
const echo = Buffer.from([8, 0, 0xf7, 0xfd, 0, 1, 0, 1])
const ipv6 = Buffer.from([
  0x60, 0, 0, 0, 0, 8, 17, 64, 0xfd, 0x77, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 2, 0x9c, 0x40, 0, 9, 0, 8, 0, 0,
])

function innerPacket(lease) {
  const source =
    random(3) > 0
      ? lease
      : pick([
          [192, 168, 77, random(256)],
          [10, 2, 0, 1],
          [10, 99, 1, 2],
          [127, 0, 0, 1],
          [0, 0, 0, 0],
          [224, 0, 0, 1],
        ])
  const error = Buffer.concat([Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), ipv4(corporate, source, 17, udp).subarray(0, 28)])
  const [protocol, payload] = pick([
    [17, udp],
    [6, tcp],
    [1, echo],
    [1, error],
    [47, udp],
    [50, tcp],
  ])
  const packet = random(5) === 0 ? ipv6 : ipv4(source, corporate, protocol, payload)
  return random(4) === 0 ? packet : mutate(packet)
}

// ---- DTLS

function clientHello({ clientRandom, sessionId }, cookie) {
  const body = Buffer.concat([
    Buffer.from([0xfe, 0xfd]),
    clientRandom,
    Buffer.from([sessionId.length]),
    sessionId,
    Buffer.from([cookie.length]),
    cookie,
    Buffer.from([0, 6, 0, 0xa9, 0xcc, 0xab, 0, 0xa8, 1, 0, 0, 11, 0xff, 1, 0, 1, 0, 0, 28, 0, 2, 0x40, 0]),
  ])
  const length = [0, body.length >> 8, body.length & 255]
  const handshake = Buffer.concat([Buffer.from([1, ...length, 0, 0, 0, 0, 0, ...length]), body])
  return Buffer.concat([
    Buffer.from([22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, handshake.length >> 8, handshake.length & 255]),
    handshake,
  ])
}

const bytes32 = () => Buffer.from(Array.from({ length: 32 }, () => random(256)))

// Each socket says hello in a way of its own, most of them with the App-ID of a session that exists, and uses the cookie
// that the gateway answers with; so mutations reach what lies behind the gate as well.
async function dtls() {
  const tunnel = await openTunnel(await logIn())
  const known = Buffer.from(tunnel.appId, 'hex')
  const results = { sent: 0, answers: {} }
  const peers = Array.from({ length: 16 }, (_, n) => {
    const peer = {
      socket: createSocket('udp4'),
      hello: { clientRandom: bytes32(), sessionId: n % 4 > 0 ? known : bytes32() },
      cookie: Buffer.alloc(0),
    }
    peer.socket.on('message', bytes => {
      const name = bytes[0] === 22 ? `handshake ${bytes[13]}` : `record ${bytes[0]}`
      results.answers[name] = (results.answers[name] ?? 0) + 1
      // HelloVerifyRequest: version, then the cookie behind its length.
      if (bytes[0] === 22 && bytes[13] === 3) peer.cookie = bytes.subarray(28, 28 + bytes[27])
    })
    return peer
  })
  const other = [
    Buffer.from([23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 32, ...Buffer.alloc(32)]),
    Buffer.from([21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40]),
    Buffer.from([20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1]),
    // ClientKeyExchange with an identity, as it would follow the server's hello.
    Buffer.from([
      22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 2, 0, 17, 16, 0, 0, 5, 0, 2, 0, 0, 0, 0, 0, 5, 0, 3, 0x70, 0x73, 0x6b,
    ]),
  ]
  while (results.sent < runs) {
    const burst = Array.from({ length: 32 }, () => {
      const peer = pick(peers)
      const bytes = random(3) > 0 ? clientHello(peer.hello, peer.cookie) : pick(other)
      if (random(200) === 0) Object.assign(peer, { cookie: Buffer.alloc(0) })
      return new Promise(done => peer.socket.send(random(5) === 0 ? bytes : mutate(bytes), port, address, done))
    })
    await Promise.all(burst)
    results.sent += burst.length
    // Lets answers be read, whose cookies go into what follows.
    await new Promise(done => setTimeout(done, 1))
  }
  for (const { socket } of peers) socket.close()
  tunnel.socket.destroy()
  return results
}

const kinds = {
  http,
  cstp: () => throughTunnels(lease => mutate(frame(pick([0, 0, 3, 4, 5, 7, 8, 9, random(256)]), innerPacket(lease)))),
  inner: () => throughTunnels(lease => frame(0, innerPacket(lease))),
  dtls,
}
console.log(JSON.stringify(await kinds[kind]()))
