// A whole gateway and a client in one process, without root: the client's interface and the gateway's way out are memory.
// The client pings a corporate host, which sees the gateway's address and answers.
//
//   npx tsx examples/gateway-minimal.ts
//
// Prints:
//   gateway: alice is logged in and has 192.168.77.2
//   client: packets may pass; through the tunnel go 10.2.0.0/24
//   client: data goes by the datagram channel now
//   corporate host: IP 203.0.113.7 > 10.2.0.2: ICMP echo request, id ..., seq 0, length 12
//   client: IP 10.2.0.2 > 192.168.77.2: ICMP echo reply, id 7, seq 0, length 12
//   gateway: alice left (user-left): 32 bytes out, 32 bytes in
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PacketBatch, packetText } from '@twinbore/core/packet'
import { icmpEchoPacket, packetView } from '@twinbore/core/testing'
import {
  addUser,
  connect,
  createGateway,
  deviceEgress,
  deviceInterface,
  ensureDevelopmentIdentity,
  hashPassword,
} from '@twinbore/gateway-ref'
import { type MemoryDevice, memoryPair } from '@twinbore/tun'

// A certificate and a user, which a real gateway has already.
const directory = await mkdtemp(join(tmpdir(), 'gateway-minimal-'))
const { certificate, key, pin } = await ensureDevelopmentIdentity({ directory })
const users = join(directory, 'users.yaml')
await addUser(users, { name: 'alice', password: await hashPassword('correct horse') })

// The way out. Without `egress` it is ordinary sockets of this process.
const [wayOut, corporateHost] = memoryPair()
const gateway = await createGateway(
  {
    listen: { address: '127.0.0.1', port: 0 },
    tls: { certificate, key },
    pool: { ipv4: '192.168.77.0/24' },
    routes: { include: ['10.2.0.0/24'] },
    auth: { users },
  },
  { egress: deviceEgress({ device: wayOut, addresses: ['203.0.113.7'] }) },
)
gateway.on('session-established', ({ session }) => {
  console.log(`gateway: ${session.identity.username} is logged in and has ${session.ipv4}`)
})
gateway.on('session-closed', ({ session, reason }) => {
  const { identity, bytesOutbound, bytesInbound } = session
  console.log(`gateway: ${identity.username} left (${reason}): ${bytesOutbound} bytes out, ${bytesInbound} bytes in`)
})
await gateway.start()

// The client. Without `interface` it is a kernel TUN as well.
const [near, far] = memoryPair()
const tunnel = await connect({
  url: `https://127.0.0.1:${gateway.port}`,
  serverPin: pin,
  credentials: { username: 'alice', password: 'correct horse' },
  interface: deviceInterface(near),
})
const { ipv4, routes } = tunnel.parameters!
console.log(`client: packets may pass; through the tunnel go ${routes.include.join(', ')}`)
if (tunnel.activeChannel !== 'datagram') await new Promise(resolve => tunnel.once('channel-changed', resolve))
console.log('client: data goes by the datagram channel now')

answerPings(corporateHost)
const answered = new Promise<Uint8Array>(resolve => onPacket(far, resolve))
const ends = { source: ipv4!.address, destination: '10.2.0.2' }
send(far, icmpEchoPacket({ ...ends, identifier: 7, payload: new Uint8Array(4) }))
console.log(`client: ${packetText(await answered)}`)

const closed = new Promise(resolve => gateway.once('session-closed', resolve))
await tunnel.stop()
await closed
await gateway.stop()
await rm(directory, { recursive: true })

function answerPings(device: MemoryDevice): void {
  onPacket(device, request => {
    console.log(`corporate host: ${packetText(request)}`)
    const view = packetView(request)
    const source = '10.2.0.2'
    const destination = [...request.subarray(12, 16)].join('.')
    send(
      device,
      icmpEchoPacket({
        source,
        destination,
        identifier: view.getUint16(24),
        reply: true,
        payload: request.subarray(28),
      }),
    )
  })
}

function onPacket(device: MemoryDevice, handle: (packet: Uint8Array) => void): void {
  const batch = new PacketBatch()
  device.onReadable = () => {
    batch.reset()
    device.read(batch)
    for (let slot = 0; slot < batch.count; slot++) handle(batch.packet(slot).slice())
  }
}

function send(device: MemoryDevice, packet: Uint8Array): void {
  const batch = new PacketBatch({ capacity: 1 })
  batch.push(packet)
  device.write(batch)
}
