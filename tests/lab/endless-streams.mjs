// TCP streams that go both ways at once for as long as a test lasts, with a SHA-256 of all that passed at each end.
//   node endless-streams.mjs serve PORT ADDRESS...           the corporate host
//   node endless-streams.mjs sockets PORT ADDRESS...         one stream to each address, by ordinary sockets
//   node endless-streams.mjs tunnel PORT ADDRESS... -- URL PIN USER PASSWORD
//                                                             the same through our client, in this process
// Prints "ready" when all is open. A line on standard input ends the streams in order. Each end of a stream then prints one
// line: "stream {name, sent, received, sentHash, receivedHash}". The first 8 bytes from the caller are the stream's name.
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp, createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [, , command, portText, ...rest] = process.argv
const divider = rest.indexOf('--')
const addresses = divider === -1 ? rest : rest.slice(0, divider)
const port = Number(portText)
const zeros = Buffer.alloc(65_536)

/** Writes incompressible bytes until `isOver`, in pieces of odd sizes, and then the end. */
async function write(socket, first, isOver, hash) {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), Buffer.alloc(16))
  let sent = 0
  const put = async bytes => {
    hash.update(bytes)
    sent += bytes.length
    if (!socket.write(bytes)) await once(socket, 'drain')
  }
  if (first) await put(first)
  for (let n = 0; !isOver(); n++) {
    await put(cipher.update(zeros.subarray(0, 60_000 + ((n * 7919) % 5003))))
    // Lets the other streams of this process have their turn.
    await new Promise(setImmediate)
  }
  socket.end()
  return sent
}

async function run(socket, name, isOver) {
  const hashes = { sent: createHash('sha256'), received: createHash('sha256') }
  let received = 0
  let head = Buffer.alloc(0)
  let ended = false
  socket.on('data', bytes => {
    if (!name && head.length < 8) head = Buffer.concat([head, bytes.subarray(0, 8 - head.length)])
    hashes.received.update(bytes)
    received += bytes.length
  })
  const end = once(socket, 'end').then(() => {
    ended = true
  })
  const sent = await write(socket, name, () => ended || isOver(), hashes.sent)
  await end
  const [sentHash, receivedHash] = [hashes.sent.digest('hex'), hashes.received.digest('hex')]
  console.log(
    `stream ${JSON.stringify({ name: (name ?? head).toString('hex'), sent, received, sentHash, receivedHash })}`,
  )
}

function fail(error) {
  console.error(`a stream broke: ${error.message}`)
  process.exitCode = 1
}

if (command === 'serve') {
  for (const host of addresses) {
    const server = createServer({ allowHalfOpen: true }, socket => {
      run(socket, undefined, () => false).catch(fail)
    })
    server.listen({ port, host })
    await once(server, 'listening')
  }
  console.log('ready')
} else {
  let tunnel
  if (command === 'tunnel') {
    const { connect, stackInterface } = await import('@twinbore/gateway-ref')
    const [url, serverPin, username, password] = rest.slice(divider + 1)
    tunnel = await connect({ url, serverPin, credentials: { username, password }, interface: stackInterface() })
    while (tunnel.activeChannel !== 'datagram') await once(tunnel, 'channel-changed')
    tunnel.on('closed', ({ reason }) => console.error(`the tunnel ended: ${reason}`))
    tunnel.on('stream-renewed', () => console.log('renewed'))
  }
  let isOver = false
  const streams = []
  for (const host of addresses) {
    const socket = tunnel ? tunnel.connect({ host, port }) : connectTcp({ port, host, allowHalfOpen: true })
    await once(socket, 'connect')
    streams.push(run(socket, randomBytes(8), () => isOver))
  }
  const lines = createInterface({ input: process.stdin })
  const told = () => `${tunnel?.parameters?.ipv4?.address ?? ''}`
  console.log(`ready ${told()}`)
  await once(lines, 'line')
  isOver = true
  await Promise.all(streams).catch(fail)
  console.log(`over ${told()}`)
  await tunnel?.stop()
  lines.close()
}
