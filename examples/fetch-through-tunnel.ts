// A program that is a VPN client itself: it fetches a page of an intranet through a tunnel, without root, without an
// interface, a route or a name server of the system. Gateway and intranet are in the same process here.
//
//   npx tsx examples/fetch-through-tunnel.ts
//
// Prints:
//   client: has 192.168.77.2
//   intranet: GET /wiki from 127.0.0.1
//   client: 200 text/html, <h1>Wiki</h1>
//   intranet: POST /upload from 127.0.0.1
//   client: 1000000 bytes arrived
//   client: port 81 says ECONNREFUSED
//   client: data went by the datagram channel
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  addUser,
  connect,
  createGateway,
  ensureDevelopmentIdentity,
  hashPassword,
  stackInterface,
} from '@twinbore/gateway-ref'

// The intranet: a web server that only this computer reaches.
const intranet = createServer(async (request, response) => {
  console.log(`intranet: ${request.method} ${request.url} from ${request.socket.remoteAddress}`)
  if (request.url === '/wiki') {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Wiki</h1>')
    return
  }
  let bytes = 0
  for await (const part of request) bytes += part.length
  response.end(`${bytes} bytes arrived`)
})
await once(intranet.listen(0, '127.0.0.1'), 'listening')
const { port } = intranet.address() as AddressInfo

// The gateway, on ordinary sockets of this process. Clients find the intranet at an address of its own.
const directory = await mkdtemp(join(tmpdir(), 'fetch-through-tunnel-'))
const { certificate, key, pin } = await ensureDevelopmentIdentity({ directory })
const users = join(directory, 'users.yaml')
await addUser(users, { name: 'alice', password: await hashPassword('correct horse') })
const gateway = await createGateway(
  {
    listen: { address: '127.0.0.1', port: 0 },
    tls: { certificate, key },
    pool: { ipv4: '192.168.77.0/24' },
    routes: { include: ['203.0.113.80/32'] },
    auth: { users },
  },
  {
    // Port 1 of the loopback is nobody's.
    redirect: destination => ({ address: '127.0.0.1', port: destination.port === 80 ? port : 1 }),
  },
)
await gateway.start()

// The client.
const tunnel = await connect({
  url: `https://127.0.0.1:${gateway.port}`,
  serverPin: pin,
  credentials: { username: 'alice', password: 'correct horse' },
  interface: stackInterface(),
})
console.log(`client: has ${tunnel.parameters!.ipv4!.address}`)
if (tunnel.activeChannel !== 'datagram') await new Promise(resolve => tunnel.once('channel-changed', resolve))

const page = await tunnel.fetch('http://203.0.113.80/wiki')
console.log(`client: ${page.status} ${page.headers.get('content-type')}, ${await page.text()}`)

const answer = await tunnel.fetch('http://203.0.113.80/upload', { method: 'POST', body: new Uint8Array(1_000_000) })
console.log(`client: ${await answer.text()}`)

// A connection of its own: a Duplex with the manners of net.Socket.
const [error] = await once(
  tunnel.connect({ host: '203.0.113.80', port: 81 }).on('error', () => {}),
  'error',
)
console.log(`client: port 81 says ${error.code}`)
console.log(`client: data went by the ${tunnel.activeChannel} channel`)

await tunnel.stop()
await gateway.stop()
intranet.close()
await rm(directory, { recursive: true })
