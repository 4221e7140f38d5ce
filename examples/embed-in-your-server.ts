// A gateway as one part of a server that exists already: the server tells who is connected, ends sessions by HTTP, and
// outlives the gateway, which goes first and in good order when the process stops.
//
//   npx tsx examples/embed-in-your-server.ts
//
// Prints:
//   server: listening
//   gateway: listening beside it, TCP and UDP on one port
//   gateway: anna connected and has 192.168.77.2
//   gateway: ben connected and has 192.168.77.3
//   gateway: login of eve refused
//   eve: ERR_LOGIN_REJECTED
//   GET /sessions: 200 [{"id":1,"user":"anna","address":"192.168.77.2"},{"id":2,"user":"ben","address":"192.168.77.3"}]
//   gateway: anna left (administrator)
//   DELETE /sessions/1: 200 {"ended":true}
//   anna: the tunnel ended, Disconnected by the administrator
//   DELETE /sessions/1: 404 {"ended":false}
//   gateway: ben left (gateway-shutdown)
//   ben: the tunnel ended, The gateway is shutting down
//   GET /sessions: 200 []
//   server: closed

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  addUser,
  connect,
  createGateway,
  deviceEgress,
  deviceInterface,
  ensureDevelopmentIdentity,
  type Gateway,
  hashPassword,
  type TunnelClient,
} from '@twinbore/gateway-ref'
import { memoryPair } from '@twinbore/tun'

// The server as it was. It gets two routes: who is connected, and the end of a session.
function listen(gateway: Gateway) {
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown) => response.writeHead(status).end(JSON.stringify(body))
    const id = /^\/sessions\/(\d+)$/.exec(request.url ?? '')?.[1]
    if (request.method === 'GET' && request.url === '/sessions') {
      answer(
        200,
        gateway.sessions().map(({ id, identity, ipv4 }) => ({ id, user: identity.username, address: ipv4 })),
      )
    } else if (request.method === 'DELETE' && id !== undefined) {
      const ended = gateway.endSession(Number(id))
      answer(ended ? 200 : 404, { ended })
    } else {
      answer(404, {})
    }
  })
  return new Promise<typeof server>(resolve => server.listen(0, '127.0.0.1', () => resolve(server)))
}

const directory = await mkdtemp(join(tmpdir(), 'embed-in-your-server-'))
const { certificate, key, pin } = await ensureDevelopmentIdentity({ directory })
const users = join(directory, 'users.yaml')
for (const name of ['anna', 'ben']) await addUser(users, { name, password: await hashPassword(`${name}'s password`) })

const gateway = await createGateway(
  {
    listen: { address: '127.0.0.1', port: 0 },
    tls: { certificate, key },
    pool: { ipv4: '192.168.77.0/24' },
    auth: { users },
  },
  // No rights needed: packets of clients end in memory. Leave `egress` out for ordinary sockets. `log` takes your own logger.
  { egress: deviceEgress({ device: memoryPair()[0], addresses: ['203.0.113.7'] }) },
)
gateway.on('session-established', ({ session }) => {
  console.log(`gateway: ${session.identity.username} connected and has ${session.ipv4}`)
})
gateway.on('session-closed', ({ session, reason }) =>
  console.log(`gateway: ${session.identity.username} left (${reason})`),
)
gateway.on('login-rejected', ({ username }) => console.log(`gateway: login of ${username} refused`))

const server = await listen(gateway)
console.log('server: listening')
await gateway.start()
console.log('gateway: listening beside it, TCP and UDP on one port')

const anna = await client('anna')
const ben = await client('ben')
await client('eve').catch((error: { code: string }) => console.log(`eve: ${error.code}`))

await ask('GET', '/sessions')
await ask('DELETE', '/sessions/1')
await ended('anna', anna)
await ask('DELETE', '/sessions/1')

// What belongs into the server's handler of SIGTERM: the gateway tells its clients and closes, the server goes on until
// its own end.
await gateway.stop()
await ended('ben', ben)
await ask('GET', '/sessions')
server.closeAllConnections()
await new Promise(resolve => server.close(resolve))
console.log('server: closed')
await rm(directory, { recursive: true })

function client(username: string): Promise<TunnelClient> {
  return connect({
    url: `https://127.0.0.1:${gateway.port}`,
    serverPin: pin,
    credentials: { username, password: `${username}'s password` },
    interface: deviceInterface(memoryPair()[0]),
  })
}

/** A tunnel that its gateway ended ends with an error that says why. */
async function ended(name: string, tunnel: TunnelClient): Promise<void> {
  const failure = await tunnel.stopped
  console.log(`${name}: the tunnel ended, ${failure?.message}`)
}

async function ask(method: string, path: string): Promise<void> {
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
  console.log(`${method} ${path}: ${response.status} ${await response.text()}`)
}
