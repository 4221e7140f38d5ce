// Services of the corporate host whose behaviour a test wants to see through a tunnel:
//   node services.mjs ADDRESS    prints "ready" when all of them listen
// TCP 7001 echoes; 7002 answers and resets at once; 7003 hashes what comes up to the end, tells, and then sends 10 MB;
// UDP 7004 echoes; UDP and TCP 53 know every name as 192.0.2.53, and say over UDP that "long" names need TCP.
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'

const address = process.argv[2]
const tailBytes = 10_000_000

function serveTcp(port, serve) {
  return new Promise(resolve => {
    const server = createServer({ allowHalfOpen: true }, socket => {
      socket.on('error', () => {})
      serve(socket)
    })
    server.listen(port, address, resolve)
  })
}

function serveUdp(port, answer) {
  return new Promise(resolve => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (bytes, peer) => socket.send(answer(bytes, peer), peer.port, peer.address))
    socket.bind(port, address, resolve)
  })
}

function dnsAnswer(query, isUdp) {
  let end = 12
  while (query[end] !== 0) end += query[end] + 1
  end += 5
  const isTruncated = isUdp && query.includes('long')
  const header = Buffer.from(query.subarray(0, 12))
  header[2] = 0x85 | (isTruncated ? 2 : 0)
  header[3] = 0x80
  header.fill(0, 6)
  header.writeUInt16BE(isTruncated ? 0 : 1, 6)
  const record = Buffer.from('c00c00010001000000000004c0000235', 'hex')
  return Buffer.concat([header, query.subarray(12, end), ...(isTruncated ? [] : [record])])
}

await serveTcp(7001, socket => socket.pipe(socket))
await serveTcp(7002, socket => {
  socket.once('data', () => {
    socket.write(randomBytes(1 + Math.floor(Math.random() * 20_000)), () => socket.resetAndDestroy())
  })
})
await serveTcp(7003, socket => {
  const hash = createHash('sha256')
  socket.on('data', bytes => hash.update(bytes))
  socket.on('end', () => {
    socket.write(hash.digest())
    socket.end(Buffer.alloc(tailBytes, 7))
  })
})
await serveUdp(7004, bytes => bytes)
await serveUdp(53, query => dnsAnswer(query, true))
await serveTcp(53, socket => {
  socket.once('data', bytes => {
    const answer = dnsAnswer(bytes.subarray(2), false)
    socket.end(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]))
  })
})
console.log('ready')
