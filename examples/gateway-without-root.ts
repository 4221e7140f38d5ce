// A gateway that needs no right: no root, no TUN, no rule of the system. Clients' connections end inside of it and go on over
// ordinary sockets of this process. They reach what this computer reaches, and nothing of the computer itself; but a program
// may publish a server of its own at an address of its choice.
//
//   npx tsx examples/gateway-without-root.ts
//
// Prints:
//   gateway: ready without any right
//   gateway: alice is logged in and has 192.168.77.2
//   intranet: GET /welcome from 127.0.0.1
//   client: 200 Welcome to the intranet.
//   client: 192.168.77.1 port 22 says EHOSTUNREACH
//   client: 127.0.0.1 does not answer, the gateway dropped it: deniedDestination
//   gateway: alice left (user-left) after 1 connection to the intranet
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  addUser,
  connect,
  createGateway,
  ensureDevelopmentIdentity,
  hashPassword,
  stackInterface,
} from '@twinbore/gateway-ref'

// The intranet: a web server that only this computer reaches.
const intranet = createServer((request, response) => {
  console.log(`intranet: ${request.method} ${request.url} from ${request.socket.remoteAddress}`)
  response.end('Welcome to the intranet.')
})
await once(intranet.listen(0, '127.0.0.1'), 'listening')
const { port } = intranet.address() as AddressInfo

const directory = await mkdtemp(join(tmpdir(), 'gateway-without-root-'))
const { certificate, key, pin } = await ensureDevelopmentIdentity({ directory })
const users = join(directory, 'users.yaml')
await addUser(users, { name: 'alice', password: await hashPassword('correct horse') })
const gateway = await createGateway(
  {
    listen: { address: '127.0.0.1', port: 0 },
    tls: { certificate, key },
    pool: { ipv4: '192.168.77.0/24' },
    auth: { users },
    // `egress: { mode: 'sockets' }` is the default. Its `allow` names addresses of this computer that clients may reach.
  },
  {
    // Where else a connection goes. What it leaves alone goes where it wants to, under the rules.
    redirect: ({ address, port: asked }) =>
      address === '203.0.113.80' && asked === 80 ? { address: '127.0.0.1', port } : undefined,
  },
)
gateway.on('session-established', ({ session }) => {
  console.log(`gateway: ${session.identity.username} is logged in and has ${session.ipv4}`)
})
gateway.on('session-closed', ({ session, reason }) => {
  const connections = `${gateway.stats()?.sockets?.dials} connection to the intranet`
  console.log(`gateway: ${session.identity.username} left (${reason}) after ${connections}`)
})
await gateway.start()
console.log('gateway: ready without any right')

// The client needs no right either. A stock `openconnect`, on this computer or another, does as well.
const tunnel = await connect({
  url: `https://127.0.0.1:${gateway.port}`,
  serverPin: pin,
  credentials: { username: 'alice', password: 'correct horse' },
  interface: stackInterface(),
})
const page = await tunnel.fetch('http://203.0.113.80/welcome')
console.log(`client: ${page.status} ${await page.text()}`)

// The gateway itself is refused in words.
const [refusal] = await once(
  tunnel.connect({ host: '192.168.77.1', port: 22 }).on('error', () => {}),
  'error',
)
console.log(`client: 192.168.77.1 port 22 says ${refusal.code}`)

// And what no honest client sends is dropped.
const silent = tunnel.connect({ host: '127.0.0.1', port }).on('error', () => {})
const drops = () => Object.keys(gateway.stats()?.drops ?? {})
while (drops().length === 0) await sleep(10)
silent.destroy()
console.log(`client: 127.0.0.1 does not answer, the gateway dropped it: ${drops().join(', ')}`)

const closed = new Promise(resolve => gateway.once('session-closed', resolve))
await tunnel.stop()
await closed
await gateway.stop()
intranet.close()
await rm(directory, { recursive: true })
